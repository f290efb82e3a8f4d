// The answers that were given last, so that a known user's request touches no database.

import { LRUCache } from 'lru-cache';
import { DEAF, type ObjectKey } from '../store/engine.js';
import type { Answer } from './answer.js';

interface Entry {
  readonly answer: Answer;
  readonly generation: number;
}

/** When a lookup began: an answer may be kept only if none was dropped since. */
export interface Moment {
  readonly generation: number;
  readonly drops: number;
}

/**
 * Keeps the answers that were used last, `size` of each kind at most, about 150 bytes each. An answer
 * of another generation than the present one is not trusted, but kept: it is what there is to say
 * while the database is down.
 */
export class Cache {
  readonly #size: number;
  readonly #kinds = new Map<string, LRUCache<string, Entry>>();
  #drops = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** How many answers it keeps. */
  get size(): number {
    let size = 0;
    for (const entries of this.#kinds.values()) size += entries.size;
    return size;
  }

  /** The answer, if it was found in this generation. */
  get(kind: string, name: string, generation: number): Answer | undefined {
    const entry = this.#kinds.get(kind)?.get(name);
    if (entry?.generation !== generation || generation === DEAF) return undefined;
    return entry.answer;
  }

  /** The answer, however old. */
  getStale(kind: string, name: string): Answer | undefined {
    return this.#kinds.get(kind)?.get(name)?.answer;
  }

  /** To be taken before a lookup begins. */
  moment(generation: number): Moment {
    return { generation, drops: this.#drops };
  }

  /**
   * Keeps an answer whose lookup began at `moment`. Does nothing when any answer was dropped since:
   * the lookup may have read what the drop was about before it changed.
   */
  set(kind: string, name: string, answer: Answer, { generation, drops }: Moment): void {
    if (drops !== this.#drops) return;
    let entries = this.#kinds.get(kind);
    if (!entries) this.#kinds.set(kind, (entries = new LRUCache({ max: this.#size })));
    entries.set(name, { answer, generation });
  }

  drop({ kind, name }: ObjectKey): void {
    this.#drops++;
    this.#kinds.get(kind)?.delete(name);
  }
}
