// The built `sharder` command as a process that is waited for.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { temporaryDirectory } from '../engines.js';
import { CLI } from '../service.js';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: an empty directory. */
  readonly cwd?: string;
  /** Default: nothing. */
  readonly stdin?: string;
}

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** A command that was started; `ended` resolves when it has. */
export class Run {
  readonly process: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout = '';
  stderr = '';

  constructor(
    args: readonly string[],
    { env = {}, cwd = temporaryDirectory(), stdin = '' }: RunOptions = {},
  ) {
    const child = spawn(process.execPath, [CLI, ...args], {
      env: { ...cleanEnvironment(), ...env },
      cwd,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin.on('error', () => undefined); // it does not read it
    child.stdin.end(stdin);
    this.process = child;
    running.add(child);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = once(child, 'close').then(([code]) => {
      running.delete(child);
      return { code: code as number | null, stdout: this.stdout, stderr: this.stderr };
    });
  }

  /** Resolves when stdout or stderr has `text`; rejects when the command ends without. */
  says(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if ((this.stdout + this.stderr).includes(text)) resolve();
      };
      this.process.stdout?.on('data', look);
      this.process.stderr?.on('data', look);
      look();
      void this.ended.then(({ stdout, stderr }) => {
        reject(new Error(`it ended without "${text}": ${stdout}${stderr}`));
      });
    });
  }
}

/** Runs a command to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Outcome> {
  return new Run(args, options).ended;
}

/** A new directory with this sharder.yml in it. */
export function directoryWith(yaml: string): string {
  const dir = temporaryDirectory();
  writeFileSync(join(dir, 'sharder.yml'), yaml);
  return dir;
}

// Without the settings of whoever runs the tests.
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(SHARDER_|DATABASE_URL|SUDO_USER)/.test(name),
    ),
  );
}
