#!/bin/bash
# For docker-compose.yml: keeps what its parts need to know each other by. It runs as PostgreSQL's superuser;
# nothing else does. It makes two roles:
#
#   sharder_service   for the Sharders; owns the database, and is not a superuser
#   sharder_edge      for the edge; reads kinds, buckets, and which object is in which bucket; writes nothing
#
# Their passwords, the proxy secret and the login secret are random. They are kept in the volumes
# /secrets/sharder and /secrets/edge, where the parts read them. It keeps looking, so a database that was
# removed gets its roles again. Takes PGHOST, PGUSER, PGPASSWORD and PGDATABASE from the environment.
set -euo pipefail

# Only this container writes there; the group is the others' user.
GROUP=${SECRETS_GROUP:-1000}
DIR=${SECRETS_DIR:-/secrets}
HOST=${SECRETS_HOST:-db}

# Writes standard input to a file, which is there as a whole or not at all.
store() (
  umask 0337
  cat >"$1.new"
  chgrp "$GROUP" "$1.new"
  mv -f "$1.new" "$1"
)

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# A secret that is the same at every start.
secret() { [ -s "$1" ] || random | store "$1"; }

secret "$DIR/sharder/proxy-secret"
secret "$DIR/sharder/login-secret"
secret "$DIR/sharder/password"
secret "$DIR/edge/password"
store "$DIR/edge/proxy-secret" <"$DIR/sharder/proxy-secret"
printf 'postgres://sharder_service:%s@%s' "$(cat "$DIR/sharder/password")" "$HOST" | store "$DIR/sharder/database-url"
printf 'postgres://sharder_edge:%s@%s' "$(cat "$DIR/edge/password")" "$HOST" | store "$DIR/edge/database-url"

# Changes when a role or a table comes or goes.
state() {
  psql -X -A -t -c "select count(*), (select count(*) from pg_tables where schemaname = 'public')
    from pg_roles where rolname in ('sharder_service', 'sharder_edge')"
}

roles() {
  SERVICE=$(cat "$DIR/sharder/password") EDGE=$(cat "$DIR/edge/password") \
    psql -X -q -v ON_ERROR_STOP=1 <<'SQL' >/dev/null
\getenv db PGDATABASE
\getenv service SERVICE
\getenv edge EDGE
select format('create role %I', name) from unnest(array['sharder_service', 'sharder_edge']) name
  where not exists (select 1 from pg_roles where rolname = name) \gexec
alter role sharder_service login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'service';
alter role sharder_edge login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'edge';
alter role sharder_edge set default_transaction_read_only = on;
select format('alter database %I owner to sharder_service', :'db') \gexec
select format('revoke all on database %I from public', :'db') \gexec
select format('grant connect on database %I to sharder_edge', :'db') \gexec
-- Once the Sharders have made the tables: what the map of buckets is made of.
select format('grant select on %I to sharder_edge', name)
  from unnest(array['schema_migration', 'kind', 'bucket']) name
  where to_regclass(quote_ident(name)) is not null \gexec
select 'grant select (kind, name, bucket) on shard to sharder_edge' where to_regclass('shard') is not null \gexec
SQL
}

trap 'exit 0' TERM INT
done=
while true; do
  if now=$(state) && [ "$now" != "$done" ] && roles; then
    done=$now
    touch "${READY:-/tmp/ready}"
  fi
  sleep 5 &
  wait $!
done
