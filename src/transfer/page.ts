// What is read from a file: so many lines at a time, as they stand there.

import type { ErrorCode } from '../errors.js';

/** How many rows are in memory at a time. */
export const PAGE_SIZE = 2_000;

/** An object as a file says it, unchecked. */
export interface ObjectLine {
  readonly line: number;
  /** Undefined where the file says none. */
  readonly kind: string | undefined;
  readonly name: string;
  readonly bucket: string;
  /** Where the bucket is reached, where the row itself tells. */
  readonly url?: string | undefined;
  readonly assigned_at: string | undefined;
  readonly pinned: unknown;
}

/** A kind as a file says it, unchecked. */
export interface KindLine {
  readonly line: number;
  readonly kind: string;
  readonly policy: unknown;
  readonly settings: unknown;
}

/** A bucket as a file says it, unchecked. */
export interface BucketLine {
  readonly line: number;
  readonly kind: string | undefined;
  readonly name: string;
  readonly url?: unknown;
  readonly weight?: unknown;
  readonly capacity?: unknown;
  readonly state?: unknown;
  readonly state_reason?: unknown;
}

/** A line that cannot be imported, and why. */
export interface Problem {
  readonly line: number;
  readonly code: ErrorCode | 'contradiction' | 'elsewhere';
  readonly message: string;
}

/** Some lines of a file, sorted by what they are. */
export class Page {
  readonly kinds: KindLine[] = [];
  readonly buckets: BucketLine[] = [];
  readonly objects: ObjectLine[] = [];
  readonly problems: Problem[] = [];

  /** Notes a line that is no row of its format. */
  refuse(line: number, message: string): void {
    this.problems.push({ line, code: 'bad_request', message });
  }

  get isFull(): boolean {
    return this.objects.length + this.problems.length >= PAGE_SIZE;
  }

  get rows(): number {
    return this.objects.length + this.problems.length;
  }
}

export type Pages = AsyncIterable<Page>;
