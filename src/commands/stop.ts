// What a command says when Ctrl-C, or SIGTERM, ends it: what was done, and how to go on.

import { writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { Database } from '../store/database.js';
import { isOnTerminal, overwrite } from './progress.js';
import { printable } from './table.js';

/** What is said, in one line each. */
export interface StopWords {
  /** While it is sure that nothing was changed. */
  readonly before: string;
  /** While nobody here can know; default: as `before`, for what changes nothing. */
  readonly unsure?: string;
  /** Once it was done, or a part of it. */
  readonly done?: string;
}

/** For what only reads. */
export const READING: StopWords = {
  before: 'nothing was changed, and what was printed is not all',
};

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Calls `work`, and says these words if a signal ends the process meanwhile. */
export async function stoppable<T>(words: StopWords, work: (stop: Stop) => Promise<T>): Promise<T> {
  const stop = new Stop(words);
  try {
    return await work(stop);
  } finally {
    stop.end();
  }
}

// Sees the signals that have come: in the event loop's next turn, for in this one it may have looked already.
async function look(): Promise<void> {
  await turn();
  await turn();
}

export class Stop {
  readonly #words: StopWords;
  #say: string;
  #cleanUp: (() => void) | undefined;
  #isHinted = false;
  #isDone = false;

  /** Use `stoppable`. */
  constructor(words: StopWords) {
    this.#words = words;
    this.#say = words.before;
    this.resume();
  }

  /** From now on nobody here can know whether it was done. */
  unsure(): void {
    if (!this.#isDone) this.#say = this.#words.unsure ?? this.#words.before;
  }

  /** It was done, or a part of it. */
  done(): void {
    this.#isDone = true;
    this.#say = this.#words.done ?? this.#words.before;
  }

  /** It is sure that it was not done. */
  undone(): void {
    if (!this.#isDone) this.#say = this.#words.before;
  }

  /** From now on the first signal calls `work`, and ends nothing. */
  instead(work: () => void): void {
    this.#ignore();
    const once = (): void => {
      for (const signal of SIGNALS) process.removeListener(signal, once);
      for (const signal of SIGNALS) process.on(signal, this.#onSignal);
      work();
    };
    for (const signal of SIGNALS) process.on(signal, once);
  }

  /** From now on this is said. */
  say(words: string): void {
    this.#say = words;
  }

  /** What else is to be done before the process ends, at once. */
  cleanUp(work: () => void): void {
    this.#cleanUp = work;
  }

  /**
   * While JavaScript waits for a long statement of SQLite it sees no signal, and afterwards all may be
   * written. So until `resume` a signal ends the process by itself, at once and
   * without a word; a terminal is shown `hint` meanwhile.
   */
  async pause(hint?: string): Promise<void> {
    await look(); // what has come would be lost with its handler
    this.#ignore();
    if (hint === undefined || !isOnTerminal()) return;
    this.#isHinted = true;
    process.stderr.write(overwrite(hint));
  }

  resume(): void {
    this.#takeHint();
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  end(): void {
    this.#ignore();
    this.#takeHint();
  }

  #ignore(): void {
    for (const signal of SIGNALS) process.removeListener(signal, this.#onSignal);
  }

  /** Follows what is written to the database. */
  watch(database: Database): void {
    database.onWrite = async (phase) => {
      // While a statement of SQLite runs no signal is seen. Seen now, it undoes all of it.
      if (phase === 'committing') {
        await look();
        this.unsure();
      }
      if (phase === 'written') this.done();
      if (phase === 'failed') this.undone();
    };
  }

  #takeHint(): void {
    if (this.#isHinted) process.stderr.write(overwrite(''));
    this.#isHinted = false;
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#ignore();
    this.#cleanUp?.();
    // Over what the terminal shows of a progress, and of Ctrl-C.
    const begin = isOnTerminal() ? overwrite('') : '';
    try {
      writeSync(2, `${begin}stopped: ${printable(this.#say)}\n`);
    } catch {
      // nobody reads it
    }
    // So that a shell sees what ended it. Nobody else handles it now.
    process.kill(process.pid, signal);
  };
}
