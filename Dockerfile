# Two images: `sharder`, the service, and `edge`, nginx with the map of buckets that it renders.
#
#   docker build -t sharder .
#   docker run -p 127.0.0.1:8888:8888 -e SHARDER_TRUSTED_PROXIES=… -v sharder:/var/lib/sharder sharder
#
# runs the service by itself, on SQLite. SHARDER_TRUSTED_PROXIES is the address that the proxy in
# front has as seen from the container. For all parts together see docker-compose.yml.

FROM node:24.22-bookworm AS builder
WORKDIR /build
# The dependencies first: they are built again only when they change. This image has the compiler
# that better-sqlite3 needs where npm has no ready binary for the machine.
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json esbuild.config.js ./
COPY src ./src
RUN npm run build && rm dist/.tsbuildinfo && npm prune --omit=dev

FROM node:24.22-bookworm-slim AS base
ENV NODE_ENV=production
COPY --from=builder /build/node_modules /opt/sharder/node_modules
COPY --from=builder /build/dist /opt/sharder/dist
COPY package.json LICENSE /opt/sharder/
COPY schema /opt/sharder/schema
COPY completion /opt/sharder/completion
COPY sharder.yml /etc/sharder/sharder.yml
# The settings do not lie in the working directory, which is the one for data: a volume there would
# hide them, or keep old ones. `exec`, so that node itself gets the signals.
RUN printf '#!/bin/sh\nexec node /opt/sharder/dist/cli.js --config-file /etc/sharder/sharder.yml "$@"\n' \
      > /usr/local/bin/sharder \
 && chmod 755 /usr/local/bin/sharder \
 && install -d -o node -g node -m 700 /var/lib/sharder
# The database of sharder.yml, sharder.db, is made here.
WORKDIR /var/lib/sharder

FROM base AS edge
# Debian's nginx, with njs, which verifies signed cookies.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      nginx libnginx-mod-http-js ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o node -g node -m 700 /var/lib/sharder-edge /var/lib/sharder-edge/map
COPY nginx /etc/sharder-edge
USER node
WORKDIR /var/lib/sharder-edge
EXPOSE 8080
# Whatever nginx answers, a 401 too: without a login nobody gets further.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/', { redirect: 'manual' }).then(() => process.exit(0), () => process.exit(1))"]
ENTRYPOINT ["/etc/sharder-edge/start.sh"]

FROM base AS sharder
USER node
VOLUME /var/lib/sharder
# In a container only: the network that it is attached to says who reaches it.
ENV SHARDER_LISTEN=0.0.0.0:8888
EXPOSE 8888
# /healthz, and not /readyz: while the database is down, known users are served.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.SHARDER_LISTEN.split(':').pop() + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["sharder"]
CMD ["serve"]
