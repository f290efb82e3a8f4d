-- Of a kind with the policy `hash`, services keep the buckets in memory, and the rows of `shard`, each of
-- which wins over the hash. What is so computed must be computed anew, whoever changes it: as for updates
-- and deletions, replicas are told of new rows too.
create or replace function shard_changed() returns trigger language plpgsql set search_path from current as $$
begin
  if tg_op = 'INSERT' then
    update bucket b set members = b.members + n.objects
      from (select kind, bucket, count(*) as objects from new_rows group by kind, bucket) n
      where b.kind = n.kind and b.name = n.bucket;
    -- No replica has an answer for a new object, but of a kind whose answers are computed.
    if not exists (
      select from kind k where policy = 'hash' and exists (select from new_rows where kind = k.name)
    ) then
      return null;
    end if;
    if (select count(*) from (select from new_rows limit 1001) few) > 1000 then
      perform pg_notify('sharder', json_build_object('kind', kind)::text)
        from (select distinct kind from new_rows) kinds;
    else
      perform pg_notify('sharder', json_build_object('kind', kind, 'name', name)::text) from new_rows;
    end if;
    return null;
  elsif tg_op = 'UPDATE' then
    update bucket b set members = b.members + d.objects
      from (
        select kind, bucket, sum(objects) as objects from (
          select kind, bucket, 1 as objects from new_rows
          union all
          select kind, bucket, -1 from old_rows
        ) both_rows group by kind, bucket having sum(objects) <> 0
      ) d
      where b.kind = d.kind and b.name = d.bucket;
    -- A row that was another key's, or another kind's, says from now on where this key is.
    perform pg_notify('sharder', json_build_object('kind', k.name)::text)
      from kind k where policy = 'hash' and exists (
        select kind, name from new_rows where kind = k.name
        except
        select kind, name from old_rows
      );
  else
    update bucket b set members = b.members - o.objects
      from (select kind, bucket, count(*) as objects from old_rows group by kind, bucket) o
      where b.kind = o.kind and b.name = o.bucket;
  end if;
  if (select count(*) from (select from old_rows limit 1001) few) > 1000 then
    perform pg_notify('sharder', json_build_object('kind', kind)::text)
      from (select distinct kind from old_rows) kinds;
  else
    perform pg_notify('sharder', json_build_object('kind', kind, 'name', name)::text) from old_rows;
  end if;
  return null;
end $$;

create function bucket_of_hash_changed() returns trigger language plpgsql set search_path from current as $$
begin
  perform pg_notify('sharder', json_build_object('kind', name)::text)
    from kind where policy = 'hash' and name in (coalesce(new.kind, old.kind), coalesce(old.kind, new.kind));
  return null;
end $$;

create trigger bucket_of_hash_inserted_or_deleted after insert or delete on bucket
  for each row execute function bucket_of_hash_changed();
create trigger bucket_of_hash_changed after update of kind, name, weight, state on bucket
  for each row execute function bucket_of_hash_changed();
