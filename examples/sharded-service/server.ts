// npm run sharded-service: a server of one file that runs as three shards of itself, and a router. All
// requests under /users/NAME/ go to the same shard. Ctrl-C ends all.

import { createServer } from 'node:http';
import { shardService } from '../../src/run/service.js'; // for you: 'sharder/service'

const server = createServer((request, response) => {
  console.log(request.url);
  response.end(`Hello World: hostname: ${process.env.HOSTNAME ?? ''}\n`);
});

shardService(
  {
    ports: [Number(process.env.PORT ?? 8080)],
    shardSpec: { shards: 3, urlPattern: String.raw`^\/users\/([^\/]*)\/.*` },
  },
  ({ port }) => {
    server.listen(port, () => {
      console.log(`server up on ${port}`);
    });
  },
);
