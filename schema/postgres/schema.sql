-- What the migrations in this directory make. Written by a test, never by hand.

CREATE FUNCTION public.bucket_of_hash_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
begin
  perform pg_notify('sharder', json_build_object('kind', name)::text)
    from kind where policy = 'hash' and name in (coalesce(new.kind, old.kind), coalesce(old.kind, new.kind));
  return null;
end $$;

CREATE FUNCTION public.bucket_url_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
begin
  perform pg_notify('sharder', json_build_object('kind', old.kind)::text);
  return null;
end $$;

CREATE FUNCTION public.kind_begun() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
begin
  new.version := greatest(new.version,
    (select coalesce(max(version), 0) + 1 from arrival where kind = new.name));
  return new;
end $$;

CREATE FUNCTION public.kind_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
begin
  perform pg_notify('sharder', json_build_object('kind', coalesce(new.name, old.name))::text);
  return null;
end $$;

CREATE FUNCTION public.kind_ended() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
declare
  last bigint := coalesce((select max(version) from arrival where kind = old.name), 0);
  ended bigint := greatest(old.version, last) + 1;
begin
  delete from arrival where kind = old.name;
  insert into arrival (kind, version, previous, total, names, buckets)
    values (old.name, ended, last, 0, '{}', '{}');
  return null;
end $$;

CREATE FUNCTION public.shard_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
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

CREATE FUNCTION public.shard_truncated() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
begin
  update bucket set members = 0 where members <> 0;
  perform pg_notify('sharder', '{}');
  return null;
end $$;

CREATE TABLE public.arrival (
    kind text NOT NULL,
    version bigint NOT NULL,
    previous bigint NOT NULL,
    total bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    names text[] NOT NULL,
    buckets text[] NOT NULL
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY public.arrival ALTER COLUMN names SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.arrival ALTER COLUMN buckets SET STORAGE EXTERNAL;

CREATE TABLE public.bucket (
    kind text NOT NULL,
    name text NOT NULL,
    url text,
    weight integer DEFAULT 1 NOT NULL,
    capacity integer,
    state text DEFAULT 'active'::text NOT NULL,
    state_reason text,
    members integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    leased boolean DEFAULT false NOT NULL,
    declared jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT bucket_capacity_check CHECK (((capacity >= 0) AND (capacity <= 1000000000))),
    CONSTRAINT bucket_members_check CHECK ((members >= 0)),
    CONSTRAINT bucket_name_check CHECK (((length(name) >= 1) AND (length(name) <= 256))),
    CONSTRAINT bucket_state_check CHECK ((state = ANY (ARRAY['active'::text, 'cordoned'::text, 'draining'::text]))),
    CONSTRAINT bucket_weight_check CHECK (((weight >= 1) AND (weight <= 1000000)))
)
WITH (fillfactor='10');

CREATE TABLE public.change (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    kind text NOT NULL,
    name text,
    from_bucket text,
    to_bucket text,
    reason text,
    detail jsonb,
    plan bigint,
    assigned_at timestamp with time zone,
    version bigint
);

ALTER TABLE public.change ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.kind (
    name text NOT NULL,
    policy text DEFAULT 'emptiest'::text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    places integer DEFAULT 0 NOT NULL,
    placed_at timestamp with time zone,
    lapses jsonb DEFAULT '[]'::jsonb NOT NULL,
    halted boolean DEFAULT false NOT NULL,
    resumed_at timestamp with time zone,
    CONSTRAINT kind_name_check CHECK (((length(name) >= 1) AND (length(name) <= 63))),
    CONSTRAINT kind_policy_check CHECK ((policy = ANY (ARRAY['emptiest'::text, 'hash'::text])))
)
WITH (fillfactor='10');

CREATE TABLE public.lease (
    kind text NOT NULL,
    bucket text NOT NULL,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    place integer,
    is_moving boolean DEFAULT false NOT NULL,
    ttl_ms integer NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    group_name text,
    load double precision,
    is_news boolean DEFAULT false NOT NULL,
    calls boolean DEFAULT false NOT NULL,
    data jsonb,
    secret text,
    CONSTRAINT lease_holder_check CHECK (((octet_length(holder) >= 1) AND (octet_length(holder) <= 256))),
    CONSTRAINT lease_place_check CHECK ((place >= 0)),
    CONSTRAINT lease_ttl_ms_check CHECK (((ttl_ms >= 1000) AND (ttl_ms <= 86400000)))
)
WITH (fillfactor='50');

CREATE TABLE public.plan (
    id bigint NOT NULL,
    kind text NOT NULL,
    goal text NOT NULL,
    state text NOT NULL,
    detail jsonb NOT NULL,
    actor text NOT NULL,
    reason text,
    started_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    moves integer DEFAULT 0 NOT NULL,
    made integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    why_skipped jsonb DEFAULT '{}'::jsonb NOT NULL,
    rate integer,
    bucket_rate integer,
    runner text,
    runner_until timestamp with time zone,
    CONSTRAINT plan_goal_check CHECK ((goal = ANY (ARRAY['rebalance'::text, 'drain'::text, 'spread'::text, 'undo'::text]))),
    CONSTRAINT plan_state_check CHECK ((state = ANY (ARRAY['planning'::text, 'planned'::text, 'running'::text, 'paused'::text, 'cancelled'::text, 'done'::text])))
)
WITH (fillfactor='10');

ALTER TABLE public.plan ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.plan_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.plan_move (
    plan bigint NOT NULL,
    seq integer NOT NULL,
    name text NOT NULL,
    from_bucket text NOT NULL,
    to_bucket text NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    why text,
    CONSTRAINT plan_move_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'made'::text, 'skipped'::text])))
);

CREATE TABLE public.request (
    actor text NOT NULL,
    key text NOT NULL,
    digest text NOT NULL,
    answer json NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.shard (
    id bigint NOT NULL,
    kind text NOT NULL,
    bucket text NOT NULL,
    name text NOT NULL,
    assigned_at timestamp with time zone DEFAULT now() NOT NULL,
    pinned boolean DEFAULT false NOT NULL,
    CONSTRAINT shard_name_check CHECK (((octet_length(name) >= 1) AND (octet_length(name) <= 256)))
);

ALTER TABLE public.shard ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.shard_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.spec (
    kind text NOT NULL,
    name text NOT NULL,
    spec jsonb NOT NULL,
    group_name text,
    pin text,
    pin_rule text NOT NULL,
    weight integer NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    bucket text,
    epoch bigint,
    heir text,
    is_leaving boolean DEFAULT false NOT NULL,
    moved_at timestamp with time zone,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT spec_check CHECK (((bucket IS NULL) = (state = 'waiting'::text))),
    CONSTRAINT spec_name_check CHECK (((octet_length(name) >= 1) AND (octet_length(name) <= 256))),
    CONSTRAINT spec_pin_rule_check CHECK ((pin_rule = ANY (ARRAY['hold'::text, 'any'::text]))),
    CONSTRAINT spec_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'adding'::text, 'owned'::text, 'dropping'::text]))),
    CONSTRAINT spec_weight_check CHECK (((weight >= 1) AND (weight <= 1000000)))
);

ALTER TABLE ONLY public.arrival
    ADD CONSTRAINT arrival_pkey PRIMARY KEY (kind, version);

ALTER TABLE ONLY public.bucket
    ADD CONSTRAINT bucket_pkey PRIMARY KEY (kind, name);

ALTER TABLE ONLY public.change
    ADD CONSTRAINT change_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_kind_place_key UNIQUE (kind, place);

ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (kind, bucket);

ALTER TABLE ONLY public.plan_move
    ADD CONSTRAINT plan_move_pkey PRIMARY KEY (plan, seq);

ALTER TABLE ONLY public.plan
    ADD CONSTRAINT plan_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.request
    ADD CONSTRAINT request_pkey PRIMARY KEY (actor, key);

ALTER TABLE ONLY public.shard
    ADD CONSTRAINT shard_kind_name_key UNIQUE (kind, name);

ALTER TABLE ONLY public.shard
    ADD CONSTRAINT shard_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.spec
    ADD CONSTRAINT spec_pkey PRIMARY KEY (kind, name);

CREATE INDEX change_kind_name ON public.change USING btree (kind, name);

CREATE INDEX change_kind_version ON public.change USING btree (kind, version, id);

CREATE INDEX change_pruned ON public.change USING btree (kind, version) WHERE (action = 'history prune'::text);

CREATE INDEX plan_move_waiting ON public.plan_move USING btree (plan, seq) WHERE (state = 'waiting'::text);

CREATE INDEX request_at ON public.request USING btree (at);

CREATE INDEX shard_kind_bucket ON public.shard USING btree (kind, bucket, id);

CREATE INDEX shard_pinned ON public.shard USING btree (kind, bucket) WHERE pinned;

CREATE INDEX spec_bucket ON public.spec USING btree (kind, bucket, name);

CREATE INDEX spec_dropping ON public.spec USING btree (kind, bucket, heir, weight) WHERE (state = 'dropping'::text);

CREATE INDEX spec_heavy ON public.spec USING btree (kind, bucket, weight) WHERE (weight > 1);

CREATE INDEX spec_moving ON public.spec USING btree (kind, bucket, name) WHERE (state = ANY (ARRAY['adding'::text, 'dropping'::text]));

CREATE INDEX spec_pin ON public.spec USING btree (kind, pin, name) WHERE (pin IS NOT NULL);

CREATE INDEX spec_waiting ON public.spec USING btree (kind, weight, name) WHERE (state = 'waiting'::text);

CREATE TRIGGER bucket_of_hash_changed AFTER UPDATE OF kind, name, weight, state ON public.bucket FOR EACH ROW EXECUTE FUNCTION public.bucket_of_hash_changed();

CREATE TRIGGER bucket_of_hash_inserted_or_deleted AFTER INSERT OR DELETE ON public.bucket FOR EACH ROW EXECUTE FUNCTION public.bucket_of_hash_changed();

CREATE TRIGGER bucket_url_changed AFTER UPDATE ON public.bucket FOR EACH ROW WHEN ((old.url IS DISTINCT FROM new.url)) EXECUTE FUNCTION public.bucket_url_changed();

CREATE TRIGGER kind_begun BEFORE INSERT ON public.kind FOR EACH ROW EXECUTE FUNCTION public.kind_begun();

CREATE TRIGGER kind_ended AFTER DELETE ON public.kind FOR EACH ROW EXECUTE FUNCTION public.kind_ended();

CREATE TRIGGER kind_inserted_or_deleted AFTER INSERT OR DELETE ON public.kind FOR EACH ROW EXECUTE FUNCTION public.kind_changed();

CREATE TRIGGER kind_settings_changed AFTER UPDATE ON public.kind FOR EACH ROW WHEN (((old.policy IS DISTINCT FROM new.policy) OR (old.settings IS DISTINCT FROM new.settings))) EXECUTE FUNCTION public.kind_changed();

CREATE TRIGGER shard_deleted AFTER DELETE ON public.shard REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.shard_changed();

CREATE TRIGGER shard_inserted AFTER INSERT ON public.shard REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.shard_changed();

CREATE TRIGGER shard_truncated AFTER TRUNCATE ON public.shard FOR EACH STATEMENT EXECUTE FUNCTION public.shard_truncated();

CREATE TRIGGER shard_updated AFTER UPDATE ON public.shard REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.shard_changed();

ALTER TABLE ONLY public.bucket
    ADD CONSTRAINT bucket_kind_fkey FOREIGN KEY (kind) REFERENCES public.kind(name);

ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_kind_bucket_fkey FOREIGN KEY (kind, bucket) REFERENCES public.bucket(kind, name);

ALTER TABLE ONLY public.shard
    ADD CONSTRAINT shard_kind_bucket_fkey FOREIGN KEY (kind, bucket) REFERENCES public.bucket(kind, name);

ALTER TABLE ONLY public.spec
    ADD CONSTRAINT spec_kind_bucket_fkey FOREIGN KEY (kind, bucket) REFERENCES public.bucket(kind, name);

ALTER TABLE ONLY public.spec
    ADD CONSTRAINT spec_kind_fkey FOREIGN KEY (kind) REFERENCES public.kind(name);
