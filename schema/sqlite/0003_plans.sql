-- A list of moves, worked out and shown before any is made. `runner` applies it as long as it comes
-- again before `runner_until`; when it does not, another may go on.
create table plan (
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

-- One move of a plan. `why` says why it was skipped. No foreign key, which would be looked up
-- for each of very many: those of a plan that is gone are deleted some at a time.
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

-- What watchers are told, by the version that the kind had with it: lines of the history, and first
-- assignments, which write none. A line `history prune` has the highest version that it has deleted.
alter table change add column version integer;
create index change_kind_version on change (kind, version);
create index change_pruned on change (kind, version) where action = 'history prune';

-- The first assignments of each transaction: the first of `names` to the first of `buckets`, and so on.
-- `total` counts the names of this row and all before it, also of those that are no longer kept;
-- `previous` is the version of the row before.
create table arrival (
  kind     text    not null,
  version  integer not null,
  previous integer not null,
  total    integer not null,
  at       text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  names    text    not null check (json_valid(names)),
  buckets  text    not null check (json_valid(buckets)),
  primary key (kind, version)
) strict; -- with rowids: rows of an index that are as long as these take a page more

-- Nobody has watched what was before.
insert into arrival (kind, version, previous, total, names, buckets)
  select name, version, version, 0, '[]', '[]' from kind;

-- What is left of a kind that is removed is how far it had come: one of the same name goes on from there,
-- so that no version comes twice.
create trigger kind_begun after insert on kind begin
  update kind
    set version = max(version, (select coalesce(max(version), 0) + 1 from arrival where kind = new.name))
    where name = new.name;
end;

create trigger kind_ended after delete on kind begin
  insert into arrival (kind, version, previous, total, names, buckets)
    select old.name, max(old.version, coalesce(max(version), 0)) + 1, coalesce(max(version), 0), 0,
      '[]', '[]'
    from arrival where kind = old.name;
  delete from arrival where kind = old.name
    and version < (select max(version) from arrival where kind = old.name);
end;
