// Real shells on a terminal of their own, in which somebody types.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { temporaryDirectory } from './engines.js';
import { CLI } from './service.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type ShellName = (typeof SHELLS)[number];

const path = (process.env.PATH ?? '').split(':').filter((dir) => dir !== '');

/** For `describe`: where this shell is needed. */
export function needsShell(shell: ShellName): { readonly skip: string | false } {
  const isMissing = !path.some((dir) => existsSync(join(dir, shell)));
  const why = `${shell} is not installed: run test/install-servers.sh`;
  if (isMissing && process.env.CI) throw new Error(why);
  return { skip: isMissing && why };
}

// `sharder` prints what it is given; the script and what it asks come from the real one.
const PROGRAM = `#!/bin/sh
case $1 in
  completion | __complete) exec '${process.execPath}' '${CLI}' "$@" ;;
esac
printf 'given'
printf ' <%s>' "$@"
echo ' end'
`;

const STARTS: Readonly<Record<ShellName, { file: string; text: string; command: string }>> = {
  bash: {
    file: '.bashrc',
    text: `PS1='ready> '; source <(sharder completion bash)\n`,
    command: 'bash --rcfile "$HOME/.bashrc" -i',
  },
  zsh: {
    file: '.zshrc',
    // Beeps and colours would stand between what is looked for.
    text: `PS1='ready> '; autoload -U compinit; compinit -u; source <(sharder completion zsh)\n`,
    command: 'zsh -d -i',
  },
  fish: {
    file: '.config/fish/config.fish',
    text: `function fish_prompt; echo 'ready> '; end; sharder completion fish | source\n`,
    command: 'fish -i',
  },
};

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

export class Shell {
  readonly #process: ChildProcess;
  #output = '';

  private constructor(name: ShellName, cwd: string, env: NodeJS.ProcessEnv) {
    const home = temporaryDirectory();
    const { file, text, command } = STARTS[name];
    mkdirSync(join(home, '.config/fish'), { recursive: true });
    writeFileSync(join(home, file), text);
    writeFileSync(join(home, 'sharder'), PROGRAM);
    chmodSync(join(home, 'sharder'), 0o755);
    const child = spawn('script', ['-qec', `stty cols 200 rows 50; ${command}`, '/dev/null'], {
      cwd,
      env: {
        ...process.env,
        ...env,
        HOME: home,
        ZDOTDIR: home,
        XDG_CONFIG_HOME: join(home, '.config'),
        XDG_DATA_HOME: join(home, '.local/share'),
        PATH: [home, ...path].join(':'),
        TERM: 'xterm',
        LC_ALL: 'C.UTF-8',
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    child.stdout.setEncoding('utf8').on('data', (part: string) => (this.#output += part));
    this.#process = child;
  }

  /** Starts it as a person's shell would start, with the completion; resolves when it is ready. */
  static async start(name: ShellName, cwd: string, env: NodeJS.ProcessEnv): Promise<Shell> {
    const shell = new Shell(name, cwd, env);
    await shell.shows(/ready> /);
    return shell;
  }

  /** Types `keys` (a tab completes), then Enter; resolves with what `sharder` was given. */
  async given(keys: string): Promise<string[]> {
    this.#output = '';
    this.#process.stdin?.write(`${keys}\r`);
    try {
      const [, words = ''] = await this.shows(/given (<.*>) end\r?\n[^]*ready> /);
      return words.slice(1, -1).split('> <');
    } catch (error) {
      // What is left of the line is not the next one's.
      this.#output = '';
      this.#process.stdin?.write('\u0003');
      await this.shows(/ready> /);
      throw error;
    }
  }

  async shows(what: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = what.exec(this.#output);
      if (found) return found;
      const { stdout, exitCode } = this.#process;
      if (!stdout || exitCode !== null) throw new Error(`the shell ended: ${this.#output}`);
      const late = AbortSignal.timeout(20_000);
      await once(stdout, 'data', { signal: late }).catch(() => {
        throw new Error(`the terminal shows no ${what.source}: ${JSON.stringify(this.#output)}`);
      });
    }
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}
