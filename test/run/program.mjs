// A program that is run as shards in tests: what a request gets depends on the end of its path.

import { createServer } from 'node:http';

const { PORT, HOSTNAME, SHARD_INDEX, NUM_SHARDS, STUBBORN } = process.env;
let isWell = true;

const server = createServer((req, res) => {
  const end = /[^/?]*(?=\?|$)/.exec(req.url)?.[0];
  if (req.url === '/healthz') {
    res.writeHead(isWell ? 200 : 500).end();
  } else if (end === 'die') {
    process.exit(3);
  } else if (end === 'hang') {
    res.write('begun');
  } else if (end === 'slow') {
    res.write('begun, ');
    setTimeout(() => res.end('ended\n', () => console.log('slow has ended')), 200);
  } else {
    if (end === 'sicken') isWell = false;
    if (end === 'heal') isWell = true;
    const facts = { name: HOSTNAME, index: SHARD_INDEX, count: NUM_SHARDS, pid: process.pid };
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ ...facts, port: PORT, args: process.argv.slice(2) }));
  }
});
process.on('SIGTERM', () => {
  console.log('told to end');
  if (!STUBBORN) process.exit();
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`${HOSTNAME} is up`));
