// `sharder/service`: a program that runs as so many shards of itself.

import type { RunOptions } from './options.js';

/** Which part a program is. */
export interface ShardFacts {
  /** Where it has to listen. */
  readonly port: number;
  /** From 0. */
  readonly shard: number;
  readonly numShards: number;
  /** `server-0`, or the name of the pod. */
  readonly name: string;
}

export interface ShardServiceOptions {
  /** Where the router listens; in a pod, where the program itself does. */
  readonly ports: readonly [number];
  readonly shardSpec: {
    readonly shards: number;
    /** Its first group, found in a request's path, says which shard gets it. */
    readonly urlPattern: string;
  };
  /** Of the shards: `server` makes `server-0` and so on, and is the default. */
  readonly name?: string;
  /** The address of the router; default: 127.0.0.1. */
  readonly host?: string;
  /** A path on which a shard answers 2xx or 3xx while it is well. */
  readonly health?: string;
  /** Whether a real nginx is the router. */
  readonly nginx?: boolean;
  /** Proxies in front of the router, whose X-Forwarded-… headers are passed on. Default: none. */
  readonly trustedProxies?: readonly string[];
}

const KNOWN = ['ports', 'shardSpec', 'name', 'host', 'health', 'nginx', 'trustedProxies'];

/**
 * Calls `serve` in each shard: a copy of this program that was started by this function or by `sharder
 * run`, or a pod of a StatefulSet. Anywhere else it starts the shards, which are this program again, and
 * the router before them; what goes wrong with that is said on stderr, and the process ends.
 */
export function shardService(
  options: ShardServiceOptions,
  serve: (facts: ShardFacts) => unknown,
): void {
  const facts = findShard(options, process.env);
  if (facts) serve(facts);
  else void start(options);
}

/** The name that the function has in Metaparticle's tutorials. */
export { shardService as containerize };

/** Which shard the environment says that this process is; undefined: none. */
export function findShard(
  { ports: [own], shardSpec }: Pick<ShardServiceOptions, 'ports' | 'shardSpec'>,
  env: Readonly<NodeJS.ProcessEnv>,
): ShardFacts | undefined {
  const { HOSTNAME = '', SHARD_INDEX, NUM_SHARDS, PORT, KUBERNETES_SERVICE_HOST } = env;
  // A StatefulSet's pods are numbered.
  const ordinal = KUBERNETES_SERVICE_HOST === undefined ? undefined : /-(\d+)$/.exec(HOSTNAME)?.[1];
  const index = SHARD_INDEX ?? ordinal;
  if (index === undefined || !/^\d+$/.test(index)) return undefined;
  return {
    port: Number(PORT ?? own),
    shard: Number(index),
    numShards: Number(NUM_SHARDS ?? shardSpec.shards),
    name: HOSTNAME,
  };
}

// The command line's modules are loaded here, where a shard never comes.
async function start(options: ShardServiceOptions): Promise<void> {
  const unused = Object.keys(options).filter((key) => !KNOWN.includes(key));
  if (unused.length > 0) {
    say(`note: not used here, for nothing is built or shipped: ${unused.join(', ')}`);
  }
  const { SharderError } = await import('../errors.js');
  try {
    const { supervise } = await import('./supervise.js');
    await supervise(toRun(options));
    process.exit(0); // whatever else the program has begun
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    say(error.message);
    process.exit(2);
  }
}

function toRun({
  ports: [port],
  shardSpec,
  name,
  host,
  health,
  nginx,
  trustedProxies,
}: ShardServiceOptions): RunOptions {
  const { shards, urlPattern } = shardSpec;
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  return { ...{ shards, urlPattern, port, name, host, health, nginx, trustedProxies }, command };
}

function say(text: string): void {
  process.stderr.write(`sharder: ${text}\n`);
}
