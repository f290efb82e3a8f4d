// What the Dockerfile says, without an engine: its instructions, and the files of its images, laid out
// in a directory from which they can be run.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DockerfileParser, type Instruction } from 'dockerfile-ast';
import { temporaryDirectory } from './engines.js';

/** So long Docker waits for a container to end, if nothing else is said. */
const STOP_WITHIN_MS = 10_000;

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

interface Stage {
  readonly name: string;
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

export function stages(): Stage[] {
  const found: { name: string; from: string; instructions: Instruction[] }[] = [];
  for (const instruction of DockerfileParser.parse(read('Dockerfile')).getInstructions()) {
    if (instruction.getKeyword() === 'FROM') {
      const [from = '', , name = ''] = words(instruction);
      found.push({ name, from, instructions: [] });
    } else found.at(-1)?.instructions.push(instruction);
  }
  return found;
}

function words(instruction: Instruction): string[] {
  return instruction.getArguments().map((argument) => argument.getValue());
}

export function text(instruction: Instruction): string {
  return instruction.getArgumentsContent() ?? '';
}

/** All instructions that make an image, those of the stages below it first, and its base image. */
export function image(name: string): { base: string; instructions: readonly Instruction[] } {
  const stage = stages().find((each) => each.name === name);
  if (!stage) return { base: name, instructions: [] };
  const { base, instructions } = image(stage.from);
  return { base, instructions: [...instructions, ...stage.instructions] };
}

export function all(name: string, keyword: string): Instruction[] {
  return image(name).instructions.filter((each) => each.getKeyword() === keyword);
}

/** An instruction in the form of a JSON array, such as CMD ["serve"]; the last one counts. */
export function exec(name: string, keyword: string): string[] {
  const last = all(name, keyword).at(-1);
  assert.ok(last, `${name} has no ${keyword}`);
  return JSON.parse(text(last).replace(/^.*?(?=\[)/s, '')) as string[];
}

/** Where a COPY takes from and puts to. */
export function copied(copy: Instruction): { sources: string[]; target: string } {
  const paths = words(copy).filter((word) => !word.startsWith('--'));
  return { sources: paths.slice(0, -1), target: paths.at(-1) ?? '' };
}

export const isFromBuilder = (copy: Instruction): boolean =>
  copy.toString().includes('--from=builder');

/** A process that is ended when the tests have run, at the latest. */
export class Running {
  readonly process: ChildProcess;
  output = '';
  readonly #first: Promise<string>;

  constructor(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
    this.process = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const { stdout, stderr } = this.process;
    assert.ok(stdout && stderr);
    for (const stream of [stdout, stderr])
      stream.setEncoding('utf8').on('data', (part: string) => (this.output += part));
    const line = new Promise<string>((resolve) =>
      createInterface({ input: stdout }).once('line', resolve),
    );
    const ended = once(this.process, 'close').then(() => {
      throw new Error(`${command} ended: ${this.output}`);
    });
    this.#first = Promise.race([line, ended]);
    this.#first.catch(() => undefined);
    running.add(this);
  }

  /** Where a Sharder says that it listens. */
  async url(): Promise<string> {
    return /http:\S+(?=,)/.exec(await this.#first)?.[0] ?? '';
  }

  /** SIGTERM, as Docker and systemd send it; resolves with the exit code, of a process that ends. */
  async stop(): Promise<number | null> {
    const { process } = this;
    if (process.exitCode !== null || process.signalCode !== null) return process.exitCode;
    const exited = once(process, 'exit', { signal: AbortSignal.timeout(STOP_WITHIN_MS) });
    process.kill('SIGTERM');
    return ((await exited) as [number | null])[0];
  }

  /** Ends it with all that it has started, as the end of a container does. */
  kill(): void {
    try {
      process.kill(-(this.process.pid ?? 0), 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

const running = new Set<Running>();
after(() => {
  for (const each of running) each.kill();
});

/** The files of an image below a directory, as the Dockerfile's COPY and RUN make them. */
export class Layout {
  readonly root = temporaryDirectory();

  constructor(name: string) {
    for (const each of image(name).instructions) {
      if (each.getKeyword() === 'COPY') this.#copy(each);
      if (each.getKeyword() === 'RUN' && !text(each).includes('apt-get')) this.#run(text(each));
    }
  }

  path(path: string): string {
    return join(this.root, path);
  }

  /** The environment of a container: what the image sets, and what it is started with. */
  environment(given: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    return { PATH: `${this.path('/usr/local/bin')}:${process.env.PATH ?? ''}`, ...given };
  }

  #copy(copy: Instruction): void {
    const { sources, target } = copied(copy);
    for (const source of sources) {
      const to = this.path(target.endsWith('/') ? join(target, basename(source)) : target);
      mkdirSync(dirname(to), { recursive: true });
      if (source === '/build/node_modules') copyProductionModules(to);
      else cpSync(join(ROOT, source.replace(/^\/build\//, '')), to, { recursive: true });
    }
  }

  // On this machine, so nothing but what is known to write below the directory.
  #run(command: string): void {
    for (const part of command.split('&&').map((each) => each.trim().replace(/^RUN /, ''))) {
      assert.match(part, /^(printf|chmod \d+|install -d) /, 'a RUN that the tests do not know');
      assert.doesNotMatch(part, /\.\.|[;|`]|\$\(/);
    }
    mkdirSync(this.path('/usr/local/bin'), { recursive: true });
    const here = command
      .replaceAll(/(?<![\w.])\/(?=opt\/|etc\/|usr\/local\/|var\/lib\/)/g, `${this.root}/`)
      .replaceAll(/-[og] node /g, '');
    execFileSync('sh', ['-ec', here], { cwd: this.root });
  }
}

// What `npm prune --omit=dev` leaves.
function copyProductionModules(to: string): void {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>;
  };
  for (const [path, { dev, devOptional }] of Object.entries(packages)) {
    const isTop = /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path);
    if (!isTop || dev || devOptional || !existsSync(join(ROOT, path))) continue;
    const target = join(to, path.slice('node_modules/'.length));
    cpSync(join(ROOT, path), target, { recursive: true });
  }
}

/** Runs the HEALTHCHECK of an image; resolves with its exit code. */
export function health(name: string, env: NodeJS.ProcessEnv, port?: number): number | null {
  const [command = '', ...args] = exec(name, 'HEALTHCHECK').map((word) =>
    port === undefined ? word : word.replace(':8080', `:${port}`),
  );
  return spawnSync(command, args, { env: { ...process.env, ...env }, timeout: 5_000 }).status;
}
