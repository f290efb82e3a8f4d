#!/bin/bash
# In a container: the map of upstreams from the database, nginx, and a watch that has nginx read the map
# again when it changes. All that is written is below $EDGE_DIR; the last map is kept in $EDGE_DIR/map, so
# that the edge starts with it while the database is down. It takes from the environment:
#   DATABASE_URL           the database, as the Sharders have it
#   SHARDERS               where they are: sharder-1:8888 sharder-2:8888
#   EDGE_LISTEN            where to listen; default: 8080
#   SHARDER_PROXY_SECRET   theirs, by which they know the edge; or SHARDER_PROXY_SECRET_FILE
#   SHARDER_COOKIE_SECRET  theirs, if the edge is to believe signed cookies; or SHARDER_COOKIE_SECRET_FILE
#   IDENTITY_HEADERS       more headers that no client may send to a bucket: X-Our-User X-Our-Groups
set -eu

# The value of NAME, or what is in the file that NAME_FILE names.
setting() {
  local file=$1_FILE
  if [ -n "${!file:-}" ]; then cat "${!file}"; else printf %s "${!1:-}"; fi
}
SHARDER_COOKIE_SECRET=$(setting SHARDER_COOKIE_SECRET)
unset SHARDER_COOKIE_SECRET_FILE
if [ -n "$SHARDER_COOKIE_SECRET" ]; then export SHARDER_COOKIE_SECRET; else unset SHARDER_COOKIE_SECRET; fi
# Of several, the first is in use.
proxy_secret=$(setting SHARDER_PROXY_SECRET)
proxy_secret=$(printf %s "$proxy_secret" | tr -s ', \t\n\v\f\r' '\n' | sed '/./!d' | head -n 1)
LC_ALL=C
case $proxy_secret in
  *[!!-~]* | *[\"\\\$]*)
    echo 'SHARDER_PROXY_SECRET: must be visible ASCII without " \ and $' >&2
    exit 1
    ;;
esac

here=$(dirname "$(readlink -f "$0")")
dir=${EDGE_DIR:-/var/lib/sharder-edge}

if [ ! -s "$here/users" ]; then
  echo "$here/users is missing: make it with \`htpasswd -B -c nginx/users NAME\`" >&2
  exit 1
fi
if [ ! -r "$here/users" ]; then
  echo "$here/users cannot be read by user $(id -u): \`chown $(id -u) nginx/users\`" >&2
  exit 1
fi

rm -rf "$dir/conf"
mkdir -p "$dir/conf" "$dir/map" "$dir/tmp" "$dir/cache"
cp -R "$here/." "$dir/conf"
# Read at every login, where it is, so a new user can log in at once.
ln -sfn "$here/users" "$dir/conf/users"
map=$dir/map/upstreams.conf
ln -sfn "$map" "$dir/conf/sharder/upstreams.conf"

if [ -n "$proxy_secret" ]; then
  rm "$dir/conf/sharder/secret.conf"
  (umask 077 && echo "proxy_set_header X-Shard-Proxy-Secret \"$proxy_secret\";" >"$dir/conf/sharder/secret.conf")
fi
mkdir -p "$dir/conf/sharder/claims.d"
for header in $(printf %s "${IDENTITY_HEADERS:-}" | tr ',' ' '); do
  case $header in
    *[!A-Za-z0-9-]*)
      echo "IDENTITY_HEADERS: $header is not the name of a header: letters, digits and - are allowed" >&2
      exit 1
      ;;
  esac
  echo "proxy_set_header $header \"\";"
done >"$dir/conf/sharder/claims.d/site.conf"

# The values of edge.conf.
servers=
for sharder in ${SHARDERS:-127.0.0.1:8888}; do servers="$servers server $sharder max_fails=0;"; done
signed='#signed none'
[ -z "${SHARDER_COOKIE_SECRET:-}" ] || signed='#signed '
sed -i \
  -e "s|^ *server 127.0.0.1:8888 .*|    $servers|" \
  -e "s|listen 127.0.0.1:8080 |listen ${EDGE_LISTEN:-8080} |" \
  -e "s|$signed||" "$dir/conf/edge.conf" "$dir/conf/nginx.conf"
[ "$signed" != '#signed ' ] || sed -i '/sharder\/asked.conf/d' "$dir/conf/edge.conf"

trap 'exit 143' TERM INT
# While there is no database, or no schema yet, nginx starts with the last map, or with one in which no bucket has
# an address; the watch below goes on trying.
if ! sharder render nginx --output "$map" && [ ! -s "$map" ]; then
  for name in base host; do
    echo "map \"\" \$sharder_$name { volatile; default \"\"; }"
  done >"$map"
  for name in own other; do echo "map \"\" \$sharder_${name}_cookies { default \"\"; }"; done >>"$map"
fi

PATH=$PATH:/usr/sbin # Debian's nginx
nginx -p "$dir" -c "$dir/conf/nginx.conf" -e stderr &
server=$!
sharder render nginx --output "$map" --watch \
  --reload "nginx -p '$dir' -c '$dir/conf/nginx.conf' -e stderr -t -q && kill -HUP $server" &
watch=$!

stop() {
  kill -QUIT "$server" || true # it gives its last answers first
  kill "$watch" || true
} 2>/dev/null
told=
trap 'told=yes; stop' TERM INT

# Ends when it is told to, and fails when either of them ends by itself.
wait -n "$server" "$watch" || true
stop
wait "$server" "$watch" || true
[ -n "$told" ]
