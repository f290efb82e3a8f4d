-- No plan moves an object that is pinned; a person may.
alter table shard add column pinned boolean not null default false;

-- When the object of a change had been assigned: with it the history tells where everyone was at a time.
alter table change add column assigned_at timestamptz;

-- Services keep the settings of kinds in memory.
create function kind_changed() returns trigger language plpgsql set search_path from current as $$
begin
  perform pg_notify('sharder', json_build_object('kind', coalesce(new.name, old.name))::text);
  return null;
end $$;
create trigger kind_inserted_or_deleted after insert or delete on kind
  for each row execute function kind_changed();
create trigger kind_settings_changed after update on kind
  for each row when (old.policy is distinct from new.policy or old.settings is distinct from new.settings)
  execute function kind_changed();

-- What was answered to a request that had an Idempotency-Key, so that it is done once.
create table request (
  actor  text        not null,
  key    text        not null,
  digest text        not null,
  answer json        not null,
  at     timestamptz not null default now(),
  primary key (actor, key)
);
create index request_at on request (at);
