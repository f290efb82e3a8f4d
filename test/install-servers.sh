#!/bin/sh
# Installs what the tests need beside npm's packages: PostgreSQL, nginx with its scripts (njs), Caddy,
# HAProxy, JupyterHub, Chromium, Compose, systemd's tools, zsh and fish, from Debian's packages. Does
# nothing when they are there already, and starts no service: the tests start servers of their own.
set -eu

have() {
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]
}

missing=
have initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
have nginx || missing="$missing nginx"
[ -e /usr/lib/nginx/modules/ngx_http_js_module.so ] || missing="$missing libnginx-mod-http-js"
have caddy || missing="$missing caddy"
have haproxy || missing="$missing haproxy"
{ have jupyterhub && have jupyter-notebook; } || missing="$missing jupyterhub jupyter-notebook"
have chromium || missing="$missing chromium"
# Only `config` is asked of it, which needs no engine.
docker compose version >/dev/null 2>&1 || have docker-compose || missing="$missing docker-compose"
have zsh || missing="$missing zsh"
have fish || missing="$missing fish"
have systemd-analyze || missing="$missing systemd"
if [ -z "$missing" ]; then
  echo 'all servers and tools are there already'
  exit 0
fi

if [ ! -e /etc/debian_version ]; then
  echo "this is not Debian: install these by hand, with their server programs on the PATH:$missing" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "only root can install packages; as root, type: apt-get install$missing" >&2
  exit 1
fi

# In a container no service can be started, and a package that tries may fail to install. Where
# nobody has said so yet, this says that none is to be started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # one word per package
apt-get install -q -y --no-install-recommends $missing
