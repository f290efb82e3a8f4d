-- A worker's claim on a bucket, that lapses unless renewed. `epoch` is the kind's version with which it
-- was taken, so that it grows with every new holder, also of a bucket that was removed and came again.
-- `place` is the worker's index; null: it has none yet. `is_moving`: it had another, and has not said that
-- it goes by this one. `is_news`: nothing was moved yet for the load that it reports. `calls`: it is told
-- over HTTP what it owns. Times are the database's.
create table lease (
  kind       text        not null,
  bucket     text        not null,
  holder     text        not null check (octet_length(holder) between 1 and 256),
  epoch      bigint      not null,
  place      integer     check (place >= 0),
  is_moving  boolean     not null default false,
  ttl_ms     integer     not null check (ttl_ms between 1000 and 86400000),
  taken_at   timestamptz not null,
  expires_at timestamptz not null,
  group_name text,
  load       double precision,
  is_news    boolean     not null default false,
  calls      boolean     not null default false,
  data       jsonb,
  primary key (kind, bucket),
  unique (kind, place),
  foreign key (kind, bucket) references bucket (kind, name)
) with (fillfactor = 50);

-- How many places there are, and when they were last given; when workers have lapsed of late; and whether
-- so many did that nothing moves, or when that was over.
alter table kind add column places integer not null default 0;
alter table kind add column placed_at timestamptz;
alter table kind add column lapses jsonb not null default '[]';
alter table kind add column halted boolean not null default false;
alter table kind add column resumed_at timestamptz;

-- A bucket that a worker brought goes with it, as soon as it holds nothing.
alter table bucket add column leased boolean not null default false;

-- What an object that follows its worker asks for. Once it has an owner there is a row in `shard` as well,
-- and both have the owner's bucket. `epoch` is the kind's version with which the owner got it. Of one that
-- is `dropping` the owner has been told to stop; only when it has, it goes to its `heir`, or, `is_leaving`,
-- away.
create table spec (
  kind          text        not null references kind (name),
  name          text        not null check (octet_length(name) between 1 and 256),
  spec          jsonb       not null,
  group_name    text,
  pin           text,
  pin_rule      text        not null check (pin_rule in ('hold', 'any')),
  weight        integer     not null check (weight between 1 and 1000000),
  state         text        not null default 'waiting' check (state in ('waiting', 'adding', 'owned', 'dropping')),
  bucket        text,
  epoch         bigint,
  heir          text,
  is_leaving    boolean     not null default false,
  moved_at      timestamptz,
  registered_at timestamptz not null default now(),
  primary key (kind, name),
  foreign key (kind, bucket) references bucket (kind, name),
  check ((bucket is null) = (state = 'waiting'))
);
create index spec_bucket on spec (kind, bucket, name);
create index spec_waiting on spec (kind, weight, name) where state = 'waiting';
create index spec_dropping on spec (kind, bucket, heir, weight) where state = 'dropping';
create index spec_moving on spec (kind, bucket, name) where state in ('adding', 'dropping');
create index spec_pin on spec (kind, pin, name) where pin is not null;
create index spec_heavy on spec (kind, bucket, weight) where weight > 1;
