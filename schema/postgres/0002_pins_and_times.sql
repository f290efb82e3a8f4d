-- No plan moves an object that is pinned; a person may.
alter table shard add column pinned boolean not null default false;

-- When the object of a change had been assigned: with it the history tells where everyone was at a time.
alter table change add column assigned_at timestamptz;
