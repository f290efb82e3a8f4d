// The output of all copies in one: each line whole, and with the name of the copy that wrote it.

import type { Readable } from 'node:stream';
import { styleText } from 'node:util';
import { Lines } from './lines.js';

const COLOURS = ['cyan', 'yellow', 'green', 'magenta', 'blue'] as const;

export interface OutputStreams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

export class Output {
  readonly #streams: OutputStreams;
  readonly #names: readonly string[];
  readonly #drained = new Map<NodeJS.WritableStream, Promise<void>>();

  /** `names`: of all who write. */
  constructor(names: readonly string[], streams: OutputStreams = process) {
    this.#names = names;
    this.#streams = streams;
  }

  /** What a copy writes, from now on; a reader that is slow slows the copy, and is not given more. */
  async follow(name: string, from: Readable, to: keyof OutputStreams): Promise<void> {
    const stream = this.#streams[to];
    const lines = new Lines(this.#prefix(name, stream));
    from.setEncoding('utf8'); // a character may come in two pieces
    for await (const text of from as AsyncIterable<string>) {
      await this.#write(stream, lines.push(text));
    }
    await this.#write(stream, lines.end());
  }

  /** A line of our own, for whoever runs it. */
  say(text: string): void {
    this.#streams.stderr.write(`sharder: ${text}\n`);
  }

  /** The one line that says where it listens. */
  announce(text: string): void {
    this.#streams.stdout.write(`sharder ${text}\n`);
  }

  #prefix(name: string, stream: NodeJS.WritableStream): string {
    const width = Math.max(...this.#names.map((each) => each.length));
    const colour = COLOURS[this.#names.indexOf(name) % COLOURS.length] ?? 'white';
    return `${styleText(colour, `${name.padEnd(width)} |`, { stream })} `;
  }

  async #write(stream: NodeJS.WritableStream, text: string): Promise<void> {
    if (text === '' || stream.write(text)) return;
    // All who wait share one listener.
    const drained =
      this.#drained.get(stream) ??
      new Promise<void>((resolve) => stream.once('drain', resolve)).then(() => {
        this.#drained.delete(stream);
      });
    this.#drained.set(stream, drained);
    await drained;
  }
}
