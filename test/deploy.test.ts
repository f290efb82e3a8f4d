// The files for those who run it: docker-compose.yml, the Dockerfile, the units of systemd. No engine is
// needed: Compose and systemd check their own files, and what would be in the images is laid out in a
// directory and run from there.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  appendFileSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { BlockList, type AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { validate } from 'dockerfile-utils';
import pg from 'pg';
import { parse } from 'yaml';
import { renderNginx } from '../src/deploy/nginx.js';
import { declareHub, needsPostgres, open, postgresServer, temporaryDirectory } from './engines.js';
import {
  all,
  copied,
  exec,
  health,
  image,
  isFromBuilder,
  Layout,
  read,
  ROOT,
  Running,
  stages,
  text,
} from './images.js';
import { eventually } from './load.js';
import { needsNginx, Nginx, nginxPath } from './nginx.js';
import { freePort, postgresBin } from './postgres.js';
import { CLI } from './service.js';

/** For `describe`: skips where a program is not there, but never in CI. */
function needs(program: string, isThere: boolean): { readonly skip: string | false } {
  if (isThere) return { skip: false };
  const why = `${program} is not installed: run test/install-servers.sh`;
  if (process.env.CI) throw new Error(why);
  return { skip: why };
}

function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

// Compose ------------------------------------------------------------------------------------------

const compose = [['docker', 'compose'], ['docker-compose']].find(([command = '', ...args]) =>
  succeeds(command, ...args, 'version'),
);
const needsCompose = needs('Compose', compose !== undefined);

interface ComposeService {
  readonly environment?: Readonly<Record<string, string | null>>;
  readonly volumes?: readonly string[];
  readonly networks: Readonly<Record<string, { readonly ipv4_address?: string } | null>>;
  readonly ports?: readonly unknown[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly privileged?: boolean;
  readonly network_mode?: string;
}

interface ComposeFile {
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<
    Record<
      string,
      {
        readonly internal?: boolean;
        readonly ipam?: { readonly config: readonly { subnet: string; ip_range: string }[] };
      } | null
    >
  >;
}

const PASSWORD = 'p@ss:w/rd %41 $HOME #"x';

/** What Compose makes of docker-compose.yml in a fresh clone with this sharding.env. */
function runCompose(settings: string | undefined): { status: number | null; output: string } {
  assert.ok(compose);
  const clone = temporaryDirectory();
  for (const name of ['docker-compose.yml', 'sharder.yml', 'Dockerfile', 'nginx', 'schema'])
    symlinkSync(join(ROOT, name), join(clone, name));
  symlinkSync('sharding.env', join(clone, '.env'));
  if (settings !== undefined) writeFileSync(join(clone, 'sharding.env'), settings);
  const [command = '', ...args] = compose;
  const { status, stdout, stderr } = spawnSync(command, [...args, 'config'], {
    cwd: clone,
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    encoding: 'utf8',
  });
  return { status, output: status === 0 ? stdout : stderr };
}

/** sharding.env as a person makes it: a copy of the example, with a password. */
function settingsWith(password: string): string {
  const example = read('sharding.env.example');
  assert.match(example, /^POSTGRES_PASSWORD=''$/m);
  return example.replace(/^POSTGRES_PASSWORD=''$/m, () => `POSTGRES_PASSWORD='${password}'`);
}

function composeFile(settings = settingsWith(PASSWORD)): ComposeFile {
  const { status, output } = runCompose(settings);
  assert.equal(status, 0, output);
  return parse(output) as ComposeFile;
}

function service(file: ComposeFile, name: string): ComposeService {
  const found = file.services[name];
  assert.ok(found, name);
  return found;
}

/** What a container would find in its environment; Compose prints $ as $$. */
function environment({ environment = {} }: ComposeService): Record<string, string> {
  const set = Object.entries(environment).filter((entry): entry is [string, string] => !!entry[1]);
  return Object.fromEntries(set.map(([name, value]) => [name, value.replaceAll('$$', '$')]));
}

describe('docker-compose.yml', needsCompose, () => {
  it('is what Compose accepts, with no more than the copied example and a password', () => {
    const { services } = composeFile();
    assert.deepEqual(Object.keys(services).sort(), [
      ...['db', 'edge', 'roles', 'sharder-1', 'sharder-2'],
    ]);
  });

  it('says what to do while sharding.env, or its password, is missing', () => {
    const copy = runCompose(undefined);
    assert.notEqual(copy.status, 0);
    assert.match(copy.output, /copy sharding\.env\.example to sharding\.env/);
    const password = runCompose(read('sharding.env.example'));
    assert.notEqual(password.status, 0);
    assert.match(password.output, /write a password into sharding\.env/);
  });

  it("gives the superuser's password to the database and to what makes the roles alone", () => {
    const file = composeFile();
    const told = Object.keys(file.services).filter((name) =>
      Object.values(environment(service(file, name))).includes(PASSWORD),
    );
    assert.deepEqual(told.sort(), ['db', 'roles']);
    assert.equal(environment(service(file, 'db')).POSTGRES_PASSWORD, PASSWORD);
    assert.equal(environment(service(file, 'roles')).PGPASSWORD, PASSWORD);
  });

  it('gives the edge neither the login secret nor the secret of cookies', () => {
    const secret = 'a-secret-of-more-than-thirty-two-characters';
    const file = composeFile(`${settingsWith(PASSWORD)}\nSHARDER_COOKIE_SECRET='${secret}'\n`);
    const told = Object.keys(file.services).filter(
      (name) => environment(service(file, name)).SHARDER_COOKIE_SECRET === secret,
    );
    assert.deepEqual(told.sort(), ['sharder-1', 'sharder-2']);
    for (const each of Object.values(composeFile().services))
      assert.equal(environment(each).SHARDER_COOKIE_SECRET, undefined);
    const edge = service(file, 'edge');
    assert.equal(environment(edge).SHARDER_LOGIN_SECRET_FILE, undefined);
    assert.doesNotMatch(JSON.stringify(edge.volumes), /sharder-secrets/);
  });

  it('opens no port but the one of the edge, on this machine alone, and lets nothing else out of its network', () => {
    const { services, networks } = composeFile();
    for (const [name, each] of Object.entries(services)) {
      const ports = JSON.stringify(each.ports ?? []);
      // A list of texts or of objects, by Compose's version.
      if (name === 'edge')
        assert.match(ports, /^\[("127\.0\.0\.1:|\{[^}]*"host_ip":"127\.0\.0\.1")[^,\]]*/);
      else assert.equal(ports, '[]', name);
      assert.equal(each.network_mode, undefined);
      if (name !== 'edge') assert.deepEqual(Object.keys(each.networks), ['inside'], name);
    }
    assert.equal(networks.inside?.internal, true);
  });

  it('trusts nobody but the edge to name users, at an address that no other part can get', () => {
    const file = composeFile();
    const edge = service(file, 'edge').networks.inside?.ipv4_address ?? '';
    const fixed = Object.values(file.services).map((each) => each.networks.inside?.ipv4_address);
    const addresses = fixed.filter((address) => address !== undefined);
    assert.equal(new Set(addresses).size, 3);
    for (const name of ['sharder-1', 'sharder-2'])
      assert.equal(environment(service(file, name)).SHARDER_TRUSTED_PROXIES, edge, name);

    const [range] = file.networks.inside?.ipam?.config ?? [];
    assert.ok(range);
    const within = (cidr: string, address: string) => {
      const list = new BlockList();
      const [network = '', prefix] = cidr.split('/');
      list.addSubnet(network, Number(prefix));
      return list.check(address);
    };
    for (const address of addresses) {
      assert.ok(within(range.subnet, address), address);
      assert.ok(!within(range.ip_range, address), `${address} may be given to another`);
    }
  });

  it('gives no part more of the machine than it needs', () => {
    for (const [name, each] of Object.entries(composeFile().services)) {
      assert.equal(each.read_only, true, name);
      assert.equal(each.privileged ?? false, false, name);
      assert.deepEqual(each.security_opt, ['no-new-privileges:true'], name);
      // PostgreSQL's image begins as root, and becomes another user.
      if (name !== 'db') assert.deepEqual(each.cap_drop, ['ALL'], name);
    }
  });

  it('mounts what is in the repository, or what its first comment says to make', () => {
    const file = parse(read('docker-compose.yml'), { merge: true }) as ComposeFile;
    const mounted = [
      ...Object.values(file.services)
        .flatMap(({ volumes = [] }) => volumes)
        .filter((volume) => volume.startsWith('.')), // not those of Compose itself
      ...Object.values(file.secrets).map((secret) => secret.file),
    ].map((path) => path.replace(/:.*/, ''));
    const made = ['./db', './nginx/users'];
    const ours = ['./sharder.yml', './schema/postgres/roles.sh'];
    assert.deepEqual([...new Set(mounted)].sort(), [...made, ...ours].sort());
    for (const path of ours) assert.ok(existsSync(join(ROOT, path)));
    const [comment = ''] = read('docker-compose.yml').split(/^(?!#)/m);
    for (const path of made) assert.match(comment, new RegExp(`[ /]${path.slice(2)}\\b`), path);
  });

  it('keeps what is secret out of git and out of the images', () => {
    const git = read('.gitignore').split('\n');
    const docker = read('.dockerignore').split('\n');
    for (const secret of ['sharding.env', 'db', 'nginx/users']) {
      assert.ok(
        git.some((line) => line.replaceAll(/^\/|\/$/g, '') === secret),
        `git: ${secret}`,
      );
      assert.ok(docker.lastIndexOf(secret) > docker.indexOf('!nginx'), `images: ${secret}`);
    }
  });
});

// Dockerfile ---------------------------------------------------------------------------------------

const images = ['sharder', 'edge'];

describe('Dockerfile', () => {
  it('has no mistake that its linter knows', () => {
    assert.deepEqual(validate(read('Dockerfile')), []);
  });

  it('builds the service if nobody says what', () => {
    assert.equal(stages().at(-1)?.name, 'sharder');
  });

  it('copies only what is there, and what .dockerignore lets pass', () => {
    const passes = read('.dockerignore').split('\n');
    assert.equal(
      passes.find((line) => !line.startsWith('#')),
      '*',
    );
    const copies = [...new Set([...images, 'builder'].flatMap((name) => all(name, 'COPY')))];
    for (const copy of copies.filter((each) => !isFromBuilder(each))) {
      for (const source of copied(copy).sources) {
        assert.ok(existsSync(join(ROOT, source)), source);
        assert.ok(passes.includes(`!${source}`), `.dockerignore keeps ${source} out`);
      }
    }
    accessSync(join(ROOT, 'nginx', 'start.sh'), constants.X_OK);
  });

  for (const name of images) {
    it(`${name}: is not root, tells whether it is well, and has neither compiler nor npm's leftovers`, () => {
      const { base } = image(name);
      assert.match(base, /^node:\d+\.\d+-bookworm-slim$/);
      assert.equal(all(name, 'USER').map(text).at(-1), 'node');
      assert.equal(exec(name, 'HEALTHCHECK')[0], 'node');
      for (const run of all(name, 'RUN')) assert.doesNotMatch(text(run), /\bnpm\b|g\+\+|\bmake\b/);
      const installed = all(name, 'RUN').flatMap(
        (run) => /apt-get install((?: +[\w.+-]+)+)/.exec(text(run))?.[1]?.match(/[\w.+-]+/g) ?? [],
      );
      const packages = installed.filter((word) => !word.startsWith('-'));
      assert.deepEqual(
        packages,
        name === 'edge' ? ['nginx', 'libnginx-mod-http-js', 'ca-certificates'] : [],
      );
    });

    it(`${name}: is told no secret while it is built`, () => {
      for (const keyword of ['ENV', 'ARG'])
        for (const each of all(name, keyword)) assert.doesNotMatch(text(each), /SECRET|PASS|TOKEN/);
    });
  }
});

// What would be in the images ----------------------------------------------------------------------

/** On a free port; resolves with the URL. */
async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const running = new Set<ChildProcess>();
after(() => {
  for (const { pid } of running) if (pid !== undefined) process.kill(-pid, 'SIGKILL');
});

describe('what the images have', () => {
  let edge: Layout;
  let data: string;
  before(() => {
    edge = new Layout('edge'); // all that the image `sharder` has, and nginx's files
    data = temporaryDirectory();
  });
  const sharder = (env: Readonly<Record<string, string>>) =>
    new Running(
      edge.path(`/usr/local/bin/${exec('sharder', 'ENTRYPOINT')[0] ?? ''}`),
      exec('sharder', 'CMD'),
      data,
      edge.environment({ SHARDER_LISTEN: '127.0.0.1:0', ...env }),
    );

  it('is enough to serve, keeps its database where it is started, and ends at SIGTERM', async () => {
    const service = sharder({});
    const url = await service.url();
    const answer = await fetch(`${url}/shard`, { headers: { REMOTE_USER: 'iana' } });
    assert.equal(await answer.text(), 'hub-0\n');
    assert.ok(existsSync(join(data, 'sharder.db')));
    assert.equal(await service.stop(), 0);
  });

  it('is called well while the service runs, and not when it does not', async () => {
    const service = sharder({});
    const env = { SHARDER_LISTEN: `0.0.0.0:${new URL(await service.url()).port}` };
    assert.equal(health('sharder', env), 0);
    await service.stop();
    assert.equal(health('sharder', env), 1);
  });

  describe(
    'with the settings of docker-compose.yml',
    {
      skip: needsCompose.skip || needsPostgres.skip || needsNginx.skip,
    },
    () => {
      /** The superuser of the container `db`, with a password, and its database. */
      async function makeDatabase(given: Readonly<Record<string, string>>): Promise<number> {
        const server = await postgresServer();
        const admin = await server.connect('postgres');
        const { POSTGRES_USER = '', POSTGRES_PASSWORD = '', POSTGRES_DB = '' } = given;
        const user = admin.escapeIdentifier(POSTGRES_USER);
        const password = admin.escapeLiteral(POSTGRES_PASSWORD);
        await admin.query(`create role ${user} superuser login password ${password}`);
        await admin.query(
          `create database ${admin.escapeIdentifier(POSTGRES_DB)} owner ${admin.escapeIdentifier(POSTGRES_USER)}`,
        );
        const { rows } = await admin.query<{ hba_file: string }>('show hba_file');
        const hba = rows[0]?.hba_file ?? '';
        const line = `host "${POSTGRES_DB}" all 127.0.0.1/32 scram-sha-256\n`;
        writeFileSync(hba, line + readFileSync(hba, 'utf8'));
        await admin.query('select pg_reload_conf()');
        await admin.end();
        return server.port;
      }

      /** The container `roles`; resolves with the directory of its volumes when it is healthy. */
      async function startRoles(
        given: Readonly<Record<string, string>>,
        port: number,
      ): Promise<string> {
        const secrets = temporaryDirectory();
        for (const name of ['sharder', 'edge']) mkdirSync(join(secrets, name));
        const ready = join(secrets, 'ready');
        const roles = spawn('bash', [join(ROOT, 'schema/postgres/roles.sh')], {
          env: {
            ...{ PATH: `${postgresBin ?? ''}:${process.env.PATH ?? ''}` },
            ...given,
            ...{ PGHOST: '127.0.0.1', PGPORT: String(port) },
            ...{ SECRETS_DIR: secrets, SECRETS_HOST: `127.0.0.1:${port}`, READY: ready },
            SECRETS_GROUP: String(process.getgid?.() ?? 0),
          },
          stdio: ['ignore', 'ignore', 'inherit'],
          detached: true,
        });
        running.add(roles);
        await eventually('the roles are there', () => {
          assert.equal(roles.exitCode, null);
          return existsSync(ready);
        });
        return secrets;
      }

      it(
        'a user logs in at the edge, and arrives at the own hub, at its new address too',
        { timeout: 60_000 },
        async () => {
          const claims = "IDENTITY_HEADERS='X-Our-Groups,X-Our-User'";
          const file = composeFile(`${settingsWith(PASSWORD)}\n${claims}\n`);
          const port = await makeDatabase(environment(service(file, 'db')));
          const secrets = await startRoles(environment(service(file, 'roles')), port);
          const settings = (name: string): Record<string, string> => {
            const volume = name === 'edge' ? 'edge' : 'sharder';
            return Object.fromEntries(
              Object.entries(environment(service(file, name))).map(([key, value]) => [
                key,
                value.replace('/run/sharder', join(secrets, volume)),
              ]),
            );
          };
          const urlOf = (volume: string) =>
            readFileSync(join(secrets, volume, 'database-url'), 'utf8');
          const connect = async (volume: string): Promise<pg.Client> => {
            const client = new pg.Client(`${urlOf(volume)}/${settings('edge').PGDATABASE ?? ''}`);
            await client.connect();
            return client;
          };

          // A wrong password is refused, so that the right one is what lets the Sharders in.
          const { PGDATABASE: database } = settings('sharder-1');
          const user = 'sharder_service';
          const wrong = new pg.Client({ host: '127.0.0.1', port, user, database, password: 'x' });
          await assert.rejects(wrong.connect(), { code: '28P01' });

          const sharders = ['sharder-1', 'sharder-2'].map((name) =>
            sharder({ ...settings(name), SHARDER_TRUSTED_PROXIES: '127.0.0.1' }),
          );
          const ports = await Promise.all(
            sharders.map(async (each) => new URL(await each.url()).port),
          );

          const hubs = ['old', 'new'].map((name) =>
            createServer((request, response) => {
              assert.equal(request.headers['x-our-user'], undefined);
              response.end(`${name} ${request.url ?? ''}`);
            }),
          );
          const urls = await Promise.all(hubs.map(listen));
          const setUrl = (url = '') => {
            const args = ['bucket', 'set', 'hub-0', '--url', url];
            const env = edge.environment(settings('sharder-1'));
            execFileSync(edge.path('/usr/local/bin/sharder'), args, { env });
          };
          setUrl(urls[0]);

          const edgePort = await freePort();
          // Where root tests, nginx's workers are another user, who must get in.
          const edgeDir = temporaryDirectory();
          for (const dir of [edgeDir, edge.root]) chmodSync(dir, 0o755);
          const given = settings('edge');
          assert.equal(given.SHARDERS, 'sharder-1:8888 sharder-2:8888');
          writeFileSync(edge.path('/etc/sharder-edge/users'), 'iana:{PLAIN}open\n');
          assert.equal(health('edge', {}, edgePort), 1);
          const started = new Running(
            edge.path(exec('edge', 'ENTRYPOINT')[0] ?? ''),
            [],
            edge.root,
            edge.environment({
              ...given,
              SHARDERS: ports.map((each) => `127.0.0.1:${each}`).join(' '),
              EDGE_LISTEN: `127.0.0.1:${edgePort}`,
              EDGE_DIR: edgeDir,
            }),
          );
          const url = `http://127.0.0.1:${edgePort}/notebooks`;
          // A kept connection might be closed by a reload just then.
          const iana = { Authorization: `Basic ${btoa('iana:open')}`, 'X-Our-User': 'root' };
          const headers = { ...iana, Connection: 'close' };
          await eventually('the edge listens', async () => {
            assert.equal(started.process.exitCode, null, started.output);
            return fetch(url).then(Boolean, () => false);
          });
          // It listens before it has read the map.
          await eventually('nginx has the map', async () => {
            assert.equal(started.process.exitCode, null, started.output);
            return (await (await fetch(url, { headers })).text()) === 'old /notebooks';
          });
          const edgeRole = await connect('edge');
          for (const sql of [
            "insert into kind (name) values ('x')",
            'delete from shard',
            'select count(*), min(assigned_at) from shard',
            'select * from lease',
            'select * from change',
            'create table x (a int)',
            'set default_transaction_read_only = off; delete from bucket',
          ]) {
            await assert.rejects(edgeRole.query(sql), { code: /^(42501|25006)$/ }, sql);
          }
          await edgeRole.end();
          const serviceRole = await connect('sharder');
          const { rows } = await serviceRole.query(
            'select rolsuper or rolcreaterole or rolcreatedb as may from pg_roles where rolname = current_user',
          );
          assert.deepEqual(rows, [{ may: false }]);
          await serviceRole.end();
          // A neighbour who reaches a Sharder from a trusted address does not name users.
          const past = await fetch(`http://127.0.0.1:${ports[0] ?? ''}/auth`, {
            headers: { REMOTE_USER: 'root' },
          });
          assert.equal(past.status, 403);
          setUrl(urls[1]);
          await eventually('nginx has read the new address', async () => {
            assert.equal(started.process.exitCode, null, started.output);
            return (await (await fetch(url, { headers })).text()) === 'new /notebooks';
          });
          assert.equal((await fetch(url)).status, 401);
          assert.equal(health('edge', {}, edgePort), 0);

          // Who is added may log in at once.
          const users = edge.path('/etc/sharder-edge/users');
          const brian = { Authorization: `Basic ${btoa('brian:open')}`, Connection: 'close' };
          assert.equal((await fetch(url, { headers: brian })).status, 401);
          appendFileSync(users, 'brian:{PLAIN}open\n');
          assert.notEqual((await fetch(url, { headers: brian })).status, 401);

          await started.stop();
          await assert.rejects(fetch(url), 'nginx ends with its container');

          // While the database is down the edge starts with the last map, or with none.
          const nowhere = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' };
          const startEdge = (dir: string) =>
            new Running(
              edge.path(exec('edge', 'ENTRYPOINT')[0] ?? ''),
              [],
              edge.root,
              edge.environment({
                ...nowhere,
                SHARDER_PROXY_SECRET_FILE: given.SHARDER_PROXY_SECRET_FILE ?? '',
                IDENTITY_HEADERS: given.IDENTITY_HEADERS ?? '',
                SHARDERS: ports.map((each) => `127.0.0.1:${each}`).join(' '),
                EDGE_LISTEN: `127.0.0.1:${edgePort}`,
                EDGE_DIR: dir,
              }),
            );
          const empty = temporaryDirectory();
          chmodSync(empty, 0o755);
          for (const [dir, status, says] of [
            [edgeDir, 200, /^new/],
            [empty, 503, /has no address here yet/],
          ] as const) {
            const again = startEdge(dir);
            await eventually('the edge listens', async () => {
              assert.equal(again.process.exitCode, null, again.output);
              return fetch(url).then(Boolean, () => false);
            });
            const late = await fetch(url, { headers });
            assert.equal(late.status, status);
            assert.match(await late.text(), says);
            await again.stop();
          }
          for (const each of sharders) assert.equal(await each.stop(), 0);
          for (const each of hubs) {
            each.close();
            each.closeAllConnections();
          }
        },
      );
    },
  );
});

// systemd ------------------------------------------------------------------------------------------

const needsSystemd = needs('systemd-analyze', succeeds('systemd-analyze', '--version'));

/** The words of a unit's ExecStart. */
function execStart(file: string): string[] {
  const [, line = ''] = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(read(file)) ?? [];
  const found = line.replaceAll('\\\n', ' ').match(/'[^']*'|\S+/g) ?? [];
  return found.map((word) => word.replaceAll(/^'|'$/g, ''));
}

const units = [
  { file: 'docs/sharder.service', exposure: 2 },
  { file: 'docs/sharder-nginx.service', exposure: 2.5 },
];

for (const { file, exposure } of units) {
  describe(file, () => {
    // The programs may be elsewhere on the machine that tests.
    function unit(): string {
      const path = join(temporaryDirectory(), basename(file));
      writeFileSync(path, read(file).replaceAll('/usr/bin/node', process.execPath));
      return path;
    }

    it('is a unit in which systemd finds no mistake', needsSystemd, () => {
      const verify = spawnSync('systemd-analyze', ['verify', unit()], { encoding: 'utf8' });
      assert.doesNotMatch(verify.stdout + verify.stderr, /sharder/);
      assert.equal(verify.status, 0);
    });

    it(`has an exposure of ${exposure} at most in systemd's own measure`, needsSystemd, () => {
      const args = ['security', '--no-pager', '--offline=true', `--threshold=${exposure * 10}`];
      const security = spawnSync('systemd-analyze', [...args, unit()], { encoding: 'utf8' });
      assert.equal(security.status, 0, security.stdout + security.stderr);
    });

    it('leaves V8 the memory that it needs', () => {
      assert.doesNotMatch(read(file), /^MemoryDenyWriteExecute=/m);
    });
  });
}

describe('the commands of the units', () => {
  function start(file: string, edit = (word: string) => word, given: NodeJS.ProcessEnv = {}) {
    const words = execStart(file);
    assert.deepEqual(words.slice(0, 4), [
      '/usr/bin/node',
      '/opt/sharder/dist/cli.js',
      '--config-file',
      '/etc/sharder/sharder.yml',
    ]);
    const args = ['--config-file', join(ROOT, 'sharder.yml'), ...words.slice(4).map(edit)];
    const cwd = temporaryDirectory();
    const env = { PATH: process.env.PATH, SHARDER_LISTEN: '127.0.0.1:0', ...given };
    return { cwd, process: new Running(process.execPath, [CLI, ...args], cwd, env) };
  }

  it('docs/sharder.service: serves, with its database in the state directory', async () => {
    const { cwd, process } = start('docs/sharder.service');
    const answer = await fetch(`${await process.url()}/healthz`);
    assert.equal(answer.status, 200);
    assert.ok(existsSync(join(cwd, 'sharder.db')));
    assert.equal(await process.stop(), 0);
    for (const line of ['DynamicUser=yes', 'StateDirectory=sharder', 'WorkingDirectory=%S/sharder'])
      assert.ok(read('docs/sharder.service').split('\n').includes(line), line);
  });

  it('docs/sharder-nginx.service: writes the map, and has nginx read it', needsNginx, async () => {
    const database = `sqlite:${join(temporaryDirectory(), 'sharder.db')}`;
    const env = { DATABASE_URL: database };
    const own = await open(database);
    await declareHub(own, { 'hub-0': {} });
    const nginx = await Nginx.start({
      sharders: [],
      upstreams: renderNginx([]).text,
      edit: {
        // Says where hub-0 is.
        'edge.conf': (text) => `
          map "" $sharder_kind { default hub; }
          map "" $sharder_bucket { default hub-0; }
          server { ${/listen [^;]+;/.exec(text)?.[0] ?? ''} location / { return 200 $sharder_host; } }`,
      },
    });
    const edit = (word: string) =>
      word
        .replace('/etc/nginx/sharder/upstreams.conf', nginx.upstreamsFile)
        .replace(/^\/usr\/sbin\/nginx /, `${nginxPath ?? ''} -p ${nginx.dir} -c nginx.conf `);
    const watch = start('docs/sharder-nginx.service', edit, env).process;
    await declareHub(own, { 'hub-0': { url: 'http://10.0.0.10' } });
    await eventually('nginx is told', async () => {
      // As above.
      const answer = await fetch(nginx.url, { headers: { Connection: 'close' } });
      return (await answer.text()) === '10.0.0.10';
    });
    assert.equal(await watch.stop(), 0);
    await nginx.stop();
  });
});
