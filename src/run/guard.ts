// Ends the copies when this process cannot: after `kill -9`, say. A shell that waits for the end of its
// input, which is the end of whoever holds the other end of the pipe.

import { spawn } from 'node:child_process';
import { Socket } from 'node:net';

// A line has the groups that there are now. As in group.ts: SIGTERM, and SIGKILL after ten seconds.
const SCRIPT = `
groups=
while read -r line; do groups=$line; done
for group in $groups; do kill -s TERM -- "-$group"; done
for second in 1 2 3 4 5 6 7 8 9 10; do
  left=
  for group in $groups; do kill -s 0 -- "-$group" && left="$left $group"; done
  groups=$left
  [ -n "$groups" ] || exit 0
  sleep 1
done
for group in $groups; do kill -s KILL -- "-$group"; done
`;

export class Guard {
  readonly #groups = new Set<number>();
  readonly #input: NodeJS.WritableStream;

  constructor() {
    // In a session of its own, where no Ctrl-C reaches it.
    const child = spawn('/bin/sh', ['-c', SCRIPT], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.on('error', () => undefined); // no shell, no guard
    child.stdin.on('error', () => undefined);
    child.unref();
    if (child.stdin instanceof Socket) child.stdin.unref();
    this.#input = child.stdin;
  }

  add(group: number): void {
    this.#groups.add(group);
    this.#tell();
  }

  delete(group: number): void {
    this.#groups.delete(group);
    this.#tell();
  }

  /** There is nothing left to end. */
  close(): void {
    this.#input.end('\n');
  }

  #tell(): void {
    this.#input.write(`${[...this.#groups].join(' ')}\n`);
  }
}
