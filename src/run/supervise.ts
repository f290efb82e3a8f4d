// A run from its start to the signal that ends it.

import type { RunOptions } from './options.js';
import { Run } from './run.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

// npm passes on what the terminal has sent to all: one Ctrl-C comes twice.
const SAME_MS = 500;

/**
 * Runs until SIGTERM, SIGINT or SIGHUP, at which all is stopped in order, and resolves when it is. Another
 * signal meanwhile ends all at once, and this process too. Rejects with `settings` when it cannot start.
 */
export async function supervise(options: RunOptions): Promise<void> {
  const run = new Run(options);
  let stoppedAt: number | undefined;
  let setStopped: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (setStopped = resolve));
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stoppedAt === undefined) {
      stoppedAt = performance.now();
      run.say(`${signal}: stopping; once more ends all at once`);
      setStopped();
    } else if (performance.now() - stoppedAt > SAME_MS) {
      void run.kill().finally(() => {
        forget();
        process.kill(process.pid, signal); // so that a shell sees what ended it
      });
    }
  };
  const forget = (): void => {
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    await run.start();
    await Promise.race([stopped, run.broken]);
  } finally {
    await run.stop();
    forget();
  }
}
