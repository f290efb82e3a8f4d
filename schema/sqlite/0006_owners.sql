-- The settings of a bucket (url, weight, capacity) that a person has set. A lease cannot change these.
alter table bucket add column declared text not null default '[]' check (json_valid(declared));
update bucket set declared = (
  select json_group_array(key) from (
    select 'capacity' as key where bucket.capacity is not null
    union all select 'url' where bucket.url is not null
    union all select 'weight'
  )
) where leased = 0;

-- Signs the calls to a worker. Made with the lease, and shown to its holder once.
alter table lease add column secret text;
