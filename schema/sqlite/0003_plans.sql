-- A list of moves, worked out and shown before any is made. `runner` applies it as long as it comes
-- again before `runner_until`; when it does not, another may go on.
create table plan (
  id           integer primary key,
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
  rate         integer,
  bucket_rate  integer,
  runner       text,
  runner_until text
) strict;

-- One move of a plan. `why` says why it was skipped. No foreign key, which would be looked up
-- for each of very many: a plan goes only with its kind.
create table plan_move (
  plan        integer not null,
  seq         integer not null,
  name        text    not null,
  from_bucket text    not null,
  to_bucket   text    not null,
  state       text    not null default 'waiting' check (state in ('waiting', 'made', 'skipped')),
  why         text,
  primary key (plan, seq)
) strict, without rowid;

create index plan_move_waiting on plan_move (plan, seq) where state = 'waiting';

-- How many of a bucket are pinned is asked for every plan.
create index shard_pinned on shard (kind, bucket) where pinned = 1;

-- What watchers are told, by the version that the kind had with it: the lines of the history, and the
-- first assignments, which write none: one row for each transaction, `objects` [[name, bucket], …].
-- `total` counts the names of the kind's rows so far, also of those that are no longer kept, and
-- `previous` is the version of the row before.
alter table change add column version integer;
create index change_kind_version on change (kind, version);

create table arrival (
  kind     text    not null,
  version  integer not null,
  previous integer not null,
  total    integer not null,
  at       text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  objects  text    not null check (json_valid(objects)),
  primary key (kind, version)
) strict, without rowid;
