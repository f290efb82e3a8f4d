// Groups what is asked for while the last call runs into the next one.

interface Entry<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** A place in a batch. `joined`: somebody else had asked for the same key before. */
export interface Place<T> {
  readonly promise: Promise<T>;
  readonly joined: boolean;
}

/**
 * Collects keys and hands them to `work`, all that have gathered at once, one call at a time. There
 * is no timer: the first call leaves when the event loop has read what lay waiting on its sockets,
 * the next when the one before it has returned. So a lone key waits for nothing, and a flood is
 * grouped by itself.
 *
 * `work` answers in the order of its keys, a value or an Error for each; if it rejects, that is the
 * answer for all of them.
 */
export class Batch<T> {
  readonly #work: (keys: string[]) => Promise<readonly (T | Error)[]>;
  readonly #maxSize: number;
  readonly #joinRunning: boolean;
  #waiting = new Map<string, Entry<T>>();
  #running: ReadonlyMap<string, Entry<T>> = new Map();
  #scheduled = false;

  /**
   * `maxSize` keys at most go into one call. With `joinRunning` a key that the running call has
   * already is not asked for again; without it, every answer is read after it was asked for.
   */
  constructor(
    work: (keys: string[]) => Promise<readonly (T | Error)[]>,
    { maxSize, joinRunning }: { maxSize: number; joinRunning: boolean },
  ) {
    this.#work = work;
    this.#maxSize = maxSize;
    this.#joinRunning = joinRunning;
  }

  /** Asks for `key`; whoever asks for it again before the call has left shares the answer. */
  add(key: string): Place<T> {
    const there =
      this.#waiting.get(key) ?? (this.#joinRunning ? this.#running.get(key) : undefined);
    if (there) return { promise: there.promise, joined: true };

    const entry = newEntry<T>();
    this.#waiting.set(key, entry);
    this.#schedule();
    return { promise: entry.promise, joined: false };
  }

  /** Nothing waits and nothing runs. */
  get isIdle(): boolean {
    return !this.#scheduled;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    const entries = this.#take();
    this.#running = entries;
    try {
      const answers = await this.#work([...entries.keys()]);
      let i = 0;
      for (const entry of entries.values()) {
        const answer = answers[i++];
        if (answer instanceof Error) entry.reject(answer);
        else entry.resolve(answer as T);
      }
    } catch (error) {
      for (const entry of entries.values()) entry.reject(error as Error);
    }
    this.#running = new Map();
    this.#scheduled = false;
    if (this.#waiting.size > 0) this.#schedule();
  }

  #take(): Map<string, Entry<T>> {
    const all = this.#waiting;
    this.#waiting = new Map();
    if (all.size <= this.#maxSize) return all;
    const taken = new Map<string, Entry<T>>();
    for (const [key, entry] of all) {
      (taken.size < this.#maxSize ? taken : this.#waiting).set(key, entry);
    }
    return taken;
  }
}

function newEntry<T>(): Entry<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
