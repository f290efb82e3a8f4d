// Loaded into every server that is measured, before its own code. When the bench asks, it tells the
// longest stop of the event loop since it was asked last, the memory that is resident now, and the time of
// processors that it has used.
// A timer of one millisecond looks; the least that it can see is between one and two.

import { monitorEventLoopDelay } from 'node:perf_hooks';

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send({
    stopMs: delay.max / 1e6,
    rssBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
  });
  delay.reset();
});
// The server must be able to end while the bench listens.
process.channel.unref();
