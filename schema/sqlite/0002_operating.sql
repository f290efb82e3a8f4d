-- No plan moves an object that is pinned; a person may.
alter table shard add column pinned integer not null default 0 check (pinned in (0, 1));

-- When the object of a change had been assigned: with it the history tells where everyone was at a time.
alter table change add column assigned_at text;

-- Services keep the settings of kinds in memory.
create trigger kind_inserted after insert on kind begin
  update revision set number = number + 1;
end;
create trigger kind_deleted after delete on kind begin
  update revision set number = number + 1;
end;
create trigger kind_settings_changed after update of policy, settings on kind
when old.policy is not new.policy or old.settings is not new.settings begin
  update revision set number = number + 1;
end;

-- What was answered to a request that had an Idempotency-Key, so that it is done once.
create table request (
  actor  text not null,
  key    text not null,
  digest text not null,
  answer text not null check (json_valid(answer)),
  at     text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (actor, key)
) strict, without rowid;
create index request_at on request (at);
