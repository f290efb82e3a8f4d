-- The tables of Sharder on SQLite. A released migration is never edited.

-- A namespace of objects that are spread over the same buckets. The row is the
-- kind's lock: every writing transaction begins with an update of `version`.
create table kind (
  name     text    not null primary key check (length(name) between 1 and 63),
  policy   text    not null default 'emptiest' check (policy in ('emptiest', 'hash')),
  settings text    not null default '{}' check (json_valid(settings)),
  version  integer not null default 0
) strict;

-- A bin that objects are put into. `members` is kept by the triggers below.
create table bucket (
  kind         text    not null references kind (name),
  name         text    not null check (length(name) between 1 and 256),
  url          text,
  weight       integer not null default 1 check (weight between 1 and 1000000),
  capacity     integer check (capacity between 0 and 1000000000),
  state        text    not null default 'active' check (state in ('active', 'cordoned', 'draining')),
  state_reason text,
  members      integer not null default 0 check (members >= 0),
  created_at   text    not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (kind, name)
) strict, without rowid;

-- The assignments: which bucket each object is in.
create table shard (
  id          integer primary key,
  kind        text not null,
  bucket      text not null,
  name        text not null check (length(cast(name as blob)) between 1 and 256),
  assigned_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  unique (kind, name),
  foreign key (kind, bucket) references bucket (kind, name)
) strict;

-- SQLite ends every index with the row's id, so that those of a bucket can be read page by page.
create index shard_kind_bucket on shard (kind, bucket);

-- The history. A first assignment writes no line: the row of `shard` tells.
create table change (
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
) strict;

create index change_kind_name on change (kind, name);

-- One number, which grows whenever an answer that was given may no longer hold: by it the services
-- on this file notice what any program changes. A first assignment does not touch it.
create table revision (
  id     integer primary key check (id = 1),
  number integer not null
) strict;

insert into revision (id, number) values (1, 1);

create trigger shard_inserted after insert on shard begin
  update bucket set members = members + 1 where kind = new.kind and name = new.bucket;
end;

create trigger shard_deleted after delete on shard begin
  update bucket set members = members - 1 where kind = old.kind and name = old.bucket;
  update revision set number = number + 1;
end;

create trigger shard_updated after update of kind, bucket, name on shard begin
  update bucket set members = members - 1 where kind = old.kind and name = old.bucket;
  update bucket set members = members + 1 where kind = new.kind and name = new.bucket;
  update revision set number = number + 1;
end;

create trigger bucket_url_changed after update of url on bucket when old.url is not new.url begin
  update revision set number = number + 1;
end;
