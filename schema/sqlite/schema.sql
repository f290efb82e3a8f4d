-- What the migrations in this directory make. Written by a test, never by hand.

CREATE TABLE kind (
  name     text    not null primary key check (length(name) between 1 and 63),
  policy   text    not null default 'emptiest' check (policy in ('emptiest', 'hash')),
  settings text    not null default '{}' check (json_valid(settings)),
  version  integer not null default 0
, places integer not null default 0, placed_at text, lapses text not null default '[]' check (json_valid(lapses)), halted integer not null default 0 check (halted in (0, 1)), resumed_at text) strict;

CREATE TABLE bucket (
  kind         text    not null references kind (name),
  name         text    not null check (length(name) between 1 and 256),
  url          text,
  weight       integer not null default 1 check (weight between 1 and 1000000),
  capacity     integer check (capacity between 0 and 1000000000),
  state        text    not null default 'active' check (state in ('active', 'cordoned', 'draining')),
  state_reason text,
  members      integer not null default 0 check (members >= 0),
  created_at   text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), leased integer not null default 0 check (leased in (0, 1)), declared text not null default '[]' check (json_valid(declared)),
  primary key (kind, name)
) strict, without rowid;

CREATE TABLE shard (
  id          integer primary key,
  kind        text not null,
  bucket      text not null,
  name        text not null check (length(cast(name as blob)) between 1 and 256),
  assigned_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), pinned integer not null default 0 check (pinned in (0, 1)),
  unique (kind, name),
  foreign key (kind, bucket) references bucket (kind, name)
) strict;

CREATE INDEX shard_kind_bucket on shard (kind, bucket);

CREATE TABLE change (
  id          integer primary key,
  at          text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  actor       text not null,
  action      text not null,
  kind        text not null,
  name        text,
  from_bucket text,
  to_bucket   text,
  reason      text,
  detail      text check (json_valid(detail)),
  plan        integer
, assigned_at text, version integer) strict;

CREATE INDEX change_kind_name on change (kind, name);

CREATE TABLE revision (
  id     integer primary key check (id = 1),
  number integer not null
) strict;

CREATE TRIGGER shard_inserted after insert on shard begin
  update bucket set members = members + 1 where kind = new.kind and name = new.bucket;
end;

CREATE TRIGGER shard_deleted after delete on shard begin
  update bucket set members = members - 1 where kind = old.kind and name = old.bucket;
  update revision set number = number + 1;
end;

CREATE TRIGGER shard_updated after update of kind, bucket, name on shard begin
  update bucket set members = members - 1 where kind = old.kind and name = old.bucket;
  update bucket set members = members + 1 where kind = new.kind and name = new.bucket;
  update revision set number = number + 1;
end;

CREATE TRIGGER bucket_url_changed after update of url on bucket when old.url is not new.url begin
  update revision set number = number + 1;
end;

CREATE TRIGGER kind_inserted after insert on kind begin
  update revision set number = number + 1;
end;

CREATE TRIGGER kind_deleted after delete on kind begin
  update revision set number = number + 1;
end;

CREATE TRIGGER kind_settings_changed after update of policy, settings on kind
when old.policy is not new.policy or old.settings is not new.settings begin
  update revision set number = number + 1;
end;

CREATE TABLE request (
  actor  text not null,
  key    text not null,
  digest text not null,
  answer text not null check (json_valid(answer)),
  at     text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (actor, key)
) strict, without rowid;

CREATE INDEX request_at on request (at);

CREATE TABLE plan (
  id           integer primary key autoincrement, -- the history has it for good
  kind         text    not null,
  goal         text    not null check (goal in ('rebalance', 'drain', 'spread', 'undo')),
  state        text    not null check (state in ('planning', 'planned', 'running', 'paused', 'cancelled', 'done')),
  detail       text    not null check (json_valid(detail)),
  actor        text    not null,
  reason       text,
  started_by   text,
  created_at   text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  started_at   text,
  ended_at     text,
  moves        integer not null default 0,
  made         integer not null default 0,
  skipped      integer not null default 0,
  why_skipped  text    not null default '{}' check (json_valid(why_skipped)),
  rate         integer,
  bucket_rate  integer,
  runner       text,
  runner_until text
) strict;

CREATE TABLE plan_move (
  plan        integer not null,
  seq         integer not null,
  name        text    not null,
  from_bucket text    not null,
  to_bucket   text    not null,
  state       text    not null default 'waiting' check (state in ('waiting', 'made', 'skipped')),
  why         text,
  primary key (plan, seq)
) strict, without rowid;

CREATE INDEX plan_move_waiting on plan_move (plan, seq) where state = 'waiting';

CREATE INDEX shard_pinned on shard (kind, bucket) where pinned = 1;

CREATE INDEX change_kind_version on change (kind, version);

CREATE INDEX change_pruned on change (kind, version) where action = 'history prune';

CREATE TABLE arrival (
  kind     text    not null,
  version  integer not null,
  previous integer not null,
  total    integer not null,
  at       text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  names    text    not null check (json_valid(names)),
  buckets  text    not null check (json_valid(buckets)),
  primary key (kind, version)
) strict;

CREATE TRIGGER kind_begun after insert on kind begin
  update kind
    set version = max(version, (select coalesce(max(version), 0) + 1 from arrival where kind = new.name))
    where name = new.name;
end;

CREATE TRIGGER kind_ended after delete on kind begin
  insert into arrival (kind, version, previous, total, names, buckets)
    select old.name, max(old.version, coalesce(max(version), 0)) + 1, coalesce(max(version), 0), 0,
      '[]', '[]'
    from arrival where kind = old.name;
  delete from arrival where kind = old.name
    and version < (select max(version) from arrival where kind = old.name);
end;

CREATE TABLE lease (
  kind       text    not null,
  bucket     text    not null,
  holder     text    not null check (length(cast(holder as blob)) between 1 and 256),
  epoch      integer not null,
  place      integer check (place >= 0),
  is_moving  integer not null default 0 check (is_moving in (0, 1)),
  ttl_ms     integer not null check (ttl_ms between 1000 and 86400000),
  taken_at   text    not null,
  expires_at text    not null,
  group_name text,
  load       real,
  is_news    integer not null default 0 check (is_news in (0, 1)),
  calls      integer not null default 0 check (calls in (0, 1)),
  data       text    check (json_valid(data)), secret text,
  primary key (kind, bucket),
  unique (kind, place),
  foreign key (kind, bucket) references bucket (kind, name)
) strict, without rowid;

CREATE TABLE spec (
  kind          text    not null references kind (name),
  name          text    not null check (length(cast(name as blob)) between 1 and 256),
  spec          text    not null check (json_valid(spec)),
  group_name    text,
  pin           text,
  pin_rule      text    not null check (pin_rule in ('hold', 'any')),
  weight        integer not null check (weight between 1 and 1000000),
  state         text    not null default 'waiting' check (state in ('waiting', 'adding', 'owned', 'dropping')),
  bucket        text,
  epoch         integer,
  heir          text,
  is_leaving    integer not null default 0 check (is_leaving in (0, 1)),
  moved_at      text,
  registered_at text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (kind, name),
  foreign key (kind, bucket) references bucket (kind, name),
  check ((bucket is null) = (state = 'waiting'))
) strict;

CREATE INDEX spec_bucket on spec (kind, bucket, name);

CREATE INDEX spec_waiting on spec (kind, weight, name) where state = 'waiting';

CREATE INDEX spec_dropping on spec (kind, bucket, heir, weight) where state = 'dropping';

CREATE INDEX spec_moving on spec (kind, bucket, name) where state in ('adding', 'dropping');

CREATE INDEX spec_pin on spec (kind, pin, name) where pin is not null;

CREATE INDEX spec_heavy on spec (kind, bucket, weight) where weight > 1;

CREATE TRIGGER shard_of_hash_inserted after insert on shard
when (select policy from kind where name = new.kind) = 'hash' begin
  update revision set number = number + 1;
end;

CREATE TRIGGER bucket_of_hash_inserted after insert on bucket
when (select policy from kind where name = new.kind) = 'hash' begin
  update revision set number = number + 1;
end;

CREATE TRIGGER bucket_of_hash_deleted after delete on bucket
when (select policy from kind where name = old.kind) = 'hash' begin
  update revision set number = number + 1;
end;

CREATE TRIGGER bucket_of_hash_changed after update of kind, name, weight, state on bucket
when exists (select 1 from kind where name in (old.kind, new.kind) and policy = 'hash') begin
  update revision set number = number + 1;
end;
