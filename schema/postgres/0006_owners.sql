-- The settings of a bucket (url, weight, capacity) that a person has set. A lease cannot change these.
alter table bucket add column declared jsonb not null default '[]';
update bucket set declared = (
  select coalesce(jsonb_agg(key), '[]') from (
    select 'capacity' as key where bucket.capacity is not null
    union all select 'url' where bucket.url is not null
    union all select 'weight'
  ) settings
) where not leased;

-- Signs the calls to a worker. Made with the lease, and shown to its holder once.
alter table lease add column secret text;
