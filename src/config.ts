// Settings: from flags, then the environment, then sharder.yml, then the default. Read once, checked
// by a schema; every mistake is named with its key.

import { existsSync, readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import * as z from 'zod';
import { SharderError } from './errors.js';
import { checkHost } from './hosts.js';
import { checkDepth } from './json.js';
import { checkBucketName, checkKindName } from './names.js';
import { checkNetwork } from './networks.js';
import { POLICIES } from './policies.js';
import { type AdminToken, readAdminTokens, readLogKey, readSecretList, secret } from './secrets.js';
import { DEFAULT_CACHE_SIZE, DEFAULT_QUEUE_LIMIT } from './sharder.js';
import { checkUrl } from './store/buckets.js';
import { kindSettingsSchema } from './store/kind-settings.js';

const DEFAULT_CONFIG_FILE = 'sharder.yml';

const bucket = z.preprocess(
  (value) => (typeof value === 'string' ? { name: value } : value),
  z.strictObject({
    name: z.string().check(by(checkBucketName)),
    url: z.string().check(by(checkUrl)).optional(),
    weight: z.int().min(1).max(1_000_000).optional(),
    capacity: z.int().min(0).max(1_000_000_000).optional(),
  }),
);

const kind = z.preprocess(
  (value) => value ?? {},
  kindSettingsSchema.extend({
    policy: z.enum(POLICIES, `must be ${POLICIES.join(' or ')}`).optional(),
    buckets: z
      .array(bucket)
      .check(
        by((buckets: { name: string }[]) => {
          const names = buckets.map(({ name }) => name);
          const twice = names.find((name, i) => names.indexOf(name) !== i);
          if (twice !== undefined)
            throw new SharderError('settings', `${twice} stands there twice`);
        }),
      )
      .default([]),
  }),
);

const cookie = z.strictObject({
  /** `auto`: when the trusted proxy says X-Forwarded-Proto: https. */
  secure: z.union([z.literal('auto'), z.boolean()], 'must be auto, true or false').default('auto'),
  same_site: z.enum(['lax', 'strict', 'none']).default('lax'),
  domain: z
    .string()
    .regex(/^[A-Za-z0-9.-]+$/, 'is not a domain')
    .optional(),
  /** Seconds; without it the cookie lasts as long as the browser's session. */
  max_age: z.int().min(1).optional(),
});
const usableCookie = cookie.refine(
  ({ secure, same_site }) => same_site !== 'none' || secure !== false,
  {
    path: ['same_site'],
    message: 'browsers refuse "none" without Secure; leave cookie.secure at auto or true',
  },
);

const log = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** How lines name users; see log-names.ts. Earlier versions knew true and false. */
  names: z.preprocess(
    (value) => (value === true ? 'plain' : value === false ? 'none' : value),
    z.enum(['plain', 'hash', 'none']).default('none'),
  ),
});

const schema = z.strictObject({
  listen: z.string().transform(parseListen).prefault('127.0.0.1:8888'),
  /** Of a unix socket. Default: 0660 where a group is set, else 0600. */
  listen_mode: z
    .string("must be three octal digits in quotes, such as '0660'")
    .regex(/^0?[0-7]{3}$/, "must be three octal digits in quotes, such as '0660'")
    .transform((digits) => parseInt(digits, 8))
    .optional(),
  /** The group of a unix socket: its name or number. */
  listen_group: z
    .preprocess(String, z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, 'is not a group'))
    .optional(),
  database: z.string().check(by(checkDatabase)).default('sqlite:sharder.db'),
  user_header: z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/, 'must be the name of a header: letters, digits, - and _')
    .default('REMOTE_USER'),
  trusted_proxies: listOf(checkNetwork).default(['loopback']),
  /** Hosts that the management API, /metrics and the docs answer to, in addition to loopback; see hosts.ts. */
  hosts: listOf(checkHost).default([]),
  /** Where workers may be called; none: no worker is. */
  callback_networks: listOf(checkNetwork).default([]),
  cookie: usableCookie.prefault({}),
  log: log.prefault({}),
  cache_size: z.int().min(1).max(10_000_000).default(DEFAULT_CACHE_SIZE),
  queue_limit: z.int().min(1).max(1_000_000).default(DEFAULT_QUEUE_LIMIT),
  kinds: z.record(z.string().check(by(checkKindName)), kind).default({}),
});

/** All settings. `listen` is taken apart; secrets come from the environment alone. */
export type Config = Readonly<z.infer<typeof schema>> & {
  /** The first signs cookies, all verify them; none: cookies are not signed. */
  readonly cookieSecrets: readonly string[];
  /** One of them must come with each request that names a user; none: the address is enough. */
  readonly proxySecrets: readonly string[];
  /** Login keys are derived from them; the first signs. None: no login proofs are issued. */
  readonly loginSecrets: readonly string[];
  /** Who may use the management API; none: it is closed. */
  readonly adminTokens: readonly AdminToken[];
  /** For `log.names: hash`. */
  readonly logKey?: string;
};

/** What the command line may set. */
export interface Flags {
  readonly configFile?: string | undefined;
  readonly listen?: string | undefined;
  readonly database?: string | undefined;
  /** A running service, in place of the database: its URL. */
  readonly service?: string | undefined;
}

/** A running service, and what opens it. */
export interface ClientConfig {
  readonly url: URL;
  readonly token: string;
}

/**
 * What `--url` or SHARDER_URL says, with the token of SHARDER_TOKEN, or of SHARDER_ADMIN_TOKEN if that has
 * one alone; undefined where there is no URL. Throws `settings`.
 */
export function readClientConfig(flags: Flags, env: NodeJS.ProcessEnv): ClientConfig | undefined {
  const fromEnv =
    env.SHARDER_URL === '' || flags.database !== undefined ? undefined : env.SHARDER_URL;
  const given = flags.service ?? fromEnv;
  if (given === undefined) return undefined;
  if (flags.database !== undefined) {
    throw new SharderError('settings', '--url and --database: give one of them, not both');
  }
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.username !== '') {
    throw new SharderError('settings', `--url: must be such as http://127.0.0.1:8888`);
  }
  const tokens = readAdminTokens(env);
  const token =
    secret(env, 'SHARDER_TOKEN') ?? (tokens.length === 1 ? tokens[0]?.token : undefined);
  if (token === undefined) {
    throw new SharderError(
      'settings',
      `SHARDER_TOKEN: set it in the environment to a token of the service at ${url.origin}`,
    );
  }
  return { url, token: token.trim() };
}

/**
 * Reads all settings. Throws `settings`, with a line for each mistake. Without `--config-file`
 * a sharder.yml in the working directory is read if it is there.
 */
export function readConfig(flags: Flags, env: NodeJS.ProcessEnv): Config {
  const path = flags.configFile ?? DEFAULT_CONFIG_FILE;
  // A command of the service has the service's settings in its environment.
  const isOfService = env.SHARDER_SERVICE === '1';
  const hasFile = !isOfService && (flags.configFile !== undefined || existsSync(path));
  const file = hasFile ? readFile(path) : {};

  const mistakes: string[] = [];
  // Goes on after a mistake, so that all are named at once.
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof SharderError)) throw error;
      mistakes.push(error.message);
      return undefined;
    }
  };
  attempt(() => {
    refusePassword(`${path}: database`, file.database);
  });
  attempt(() => {
    refusePassword('--database', flags.database);
  });
  const databaseUrl = attempt(() => secret(env, 'DATABASE_URL'));
  const cookieSecrets = attempt(() => readSecretList(env, 'SHARDER_COOKIE_SECRET')) ?? [];
  const proxySecrets = attempt(() => readSecretList(env, 'SHARDER_PROXY_SECRET')) ?? [];
  const loginSecrets = attempt(() => readSecretList(env, 'SHARDER_LOGIN_SECRET')) ?? [];
  const adminTokens = attempt(() => readAdminTokens(env)) ?? [];
  const logKey = attempt(() => readLogKey(env));

  const log =
    env.SHARDER_LOG_LEVEL === undefined
      ? file.log
      : { ...(file.log as object | undefined), level: env.SHARDER_LOG_LEVEL };
  const listen = flags.listen ?? env.SHARDER_LISTEN ?? file.listen;
  const isSocket = typeof listen === 'string' && listen.startsWith('unix:');
  for (const key of ['listen_mode', 'listen_group']) {
    if (file[key] !== undefined && !isSocket)
      mistakes.push(`${key}: is for \`listen: unix:/path\``);
  }
  const parsed = schema.safeParse({
    ...file,
    listen,
    database: flags.database ?? databaseUrl ?? file.database,
    user_header: env.SHARDER_USER_HEADER ?? file.user_header,
    trusted_proxies: env.SHARDER_TRUSTED_PROXIES ?? file.trusted_proxies,
    hosts: env.SHARDER_HOSTS ?? file.hosts,
    callback_networks: env.SHARDER_CALLBACK_NETWORKS ?? file.callback_networks,
    log,
  });
  for (const issue of parsed.error?.issues ?? []) mistakes.push(explain(issue));
  if (!parsed.success || mistakes.length > 0) {
    throw new SharderError('settings', `wrong settings:\n  ${mistakes.join('\n  ')}`);
  }
  const secrets = { cookieSecrets, proxySecrets, loginSecrets };
  return { ...parsed.data, ...secrets, adminTokens, ...(logKey !== undefined && { logKey }) };
}

function readFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SharderError('settings', `${path} cannot be read: ${(error as Error).message}`);
  }
  const settings = parseYaml(path, text) ?? {};
  if (typeof settings !== 'object' || Array.isArray(settings)) {
    throw new SharderError('settings', `${path}: must have keys, such as \`kinds:\``);
  }
  return settings as Record<string, unknown>;
}

// Of what the parser says, what stands before a colon: what follows may quote the file, and with it
// a password that should not be there.
function parseYaml(path: string, text: string): unknown {
  const lineCounter = new LineCounter();
  const refuse = (where: string, why: string) =>
    new SharderError('settings', `${path} is not YAML${where}: ${why.replace(/:.*$/s, '')}`);
  let document: ReturnType<typeof parseDocument>;
  try {
    document = parseDocument(text, { lineCounter, prettyErrors: false });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refuse('', 'it is nested too deep'); // the parser's stack is full
  }
  const mistake = document.errors[0] ?? document.warnings[0];
  if (mistake) {
    const { line, col } = lineCounter.linePos(mistake.pos[0]);
    throw refuse(`, line ${line}, column ${col}`, mistake.message);
  }
  try {
    const settings: unknown = document.toJS();
    checkDepth(settings, 'it');
    return settings;
  } catch (error) {
    throw refuse('', (error as Error).message); // an alias without an anchor, or too many, or a circle
  }
}

// A password on the command line is seen by everyone on the machine, one in a file ends up in git.
function refusePassword(where: string, url: unknown): void {
  if (typeof url === 'string' && hasPassword(url)) {
    throw new SharderError(
      'settings',
      `${where}: a password may not stand here; set DATABASE_URL, or DATABASE_URL_FILE, in the environment`,
    );
  }
}

// Where a URL cannot be read, what looks like a password is one.
function hasPassword(url: string): boolean {
  if (/[?&](ssl)?password=/i.test(url)) return true;
  return URL.canParse(url) ? new URL(url).password !== '' : /:\/\/[^/]*:.*@/s.test(url);
}

// The URL itself is not shown: it may hold a password, and where it cannot be read nobody can tell.
function checkDatabase(url: string): void {
  // Without a host, PostgreSQL is asked on its local socket.
  const isPostgres =
    /^postgres(ql)?:\/\//.test(url) && URL.canParse(url.replace('@/', '@localhost/'));
  if (!isPostgres && !url.startsWith('sqlite:')) {
    throw new SharderError(
      'settings',
      'is not a database URL; write sqlite:FILE or postgres://user:password@host:port/database, with special characters of the password percent-encoded (/ is %2F)',
    );
  }
}

/** Where the service listens. */
export type ListenAddress =
  { readonly host: string; readonly port: number } | { readonly path: string };

// The longest path of a unix socket on Linux, in bytes.
const MAX_SOCKET_PATH = 107;

function parseListen(listen: string, context: z.RefinementCtx): ListenAddress {
  if (listen.startsWith('unix:')) {
    const path = listen.slice('unix:'.length);
    if (path.startsWith('/') && Buffer.byteLength(path) <= MAX_SOCKET_PATH) return { path };
    context.addIssue(
      `${JSON.stringify(listen)} must be unix: and an absolute path of at most ${MAX_SOCKET_PATH} bytes, such as unix:/run/sharder/sharder.sock`,
    );
    return z.NEVER;
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    context.addIssue(
      `${JSON.stringify(listen)} must be HOST:PORT, such as 127.0.0.1:8888 or [::1]:8888, or unix:/path`,
    );
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

// A list, or its items in one text.
function listOf(check: (item: string) => void) {
  return z.preprocess(
    (value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value),
    z.array(z.string().check(by(check))),
  );
}

// A check of ours, which throws, as one of zod's.
function by<T>(check: (value: T) => unknown): z.core.CheckFn<T> {
  return (context) => {
    try {
      check(context.value);
    } catch (error) {
      if (!(error instanceof SharderError)) throw error;
      context.issues.push({ code: 'custom', message: error.message, input: context.value });
    }
  };
}

// A mistake with its key, such as kinds.hub.buckets[1].weight.
function explain(issue: z.core.$ZodIssue): string {
  const key = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
  const inner = issue.code === 'invalid_key' ? issue.issues[0] : undefined;
  return `${key || 'sharder.yml'}: ${(inner ?? issue).message}`;
}
