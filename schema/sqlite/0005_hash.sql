-- Of a kind with the policy `hash`, services keep the buckets in memory, and the rows of `shard`, each of
-- which wins over the hash. What is so computed must be computed anew, whoever changes it.
create trigger shard_of_hash_inserted after insert on shard
when (select policy from kind where name = new.kind) = 'hash' begin
  update revision set number = number + 1;
end;

create trigger bucket_of_hash_inserted after insert on bucket
when (select policy from kind where name = new.kind) = 'hash' begin
  update revision set number = number + 1;
end;
create trigger bucket_of_hash_deleted after delete on bucket
when (select policy from kind where name = old.kind) = 'hash' begin
  update revision set number = number + 1;
end;
create trigger bucket_of_hash_changed after update of kind, name, weight, state on bucket
when exists (select 1 from kind where name in (old.kind, new.kind) and policy = 'hash') begin
  update revision set number = number + 1;
end;
