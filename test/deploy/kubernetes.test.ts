// sharder render kubernetes: what it prints is what Kubernetes takes, and does what it says. There is no
// Kubernetes here: the pods are processes, and their names come from a name server of the test's own.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { renderKubernetes, type KubernetesService } from '../../src/deploy/kubernetes.js';
import { renderSharder } from '../../src/deploy/kubernetes-sharder.js';
import { exchange, get } from '../http/wire.js';
import { eventually } from '../load.js';
import { needsNginx, Nginx } from '../nginx.js';
import { freePort } from '../postgres.js';
import { validate } from './kubernetes-schema.js';
import {
  environmentOf,
  manifest,
  manifests,
  startNameServer,
  startPod,
  stopPod,
  type StatefulSetSpec,
} from './pods.js';

const SERVICE: KubernetesService = {
  name: 'x',
  image: 'registry.example.org:5000/team/x:1.2',
  shards: 3,
  urlPattern: '^\\/users\\/([^\\/]*)\\/.*',
  port: 8080,
  namespace: 'default',
  clusterDomain: 'cluster.local',
  resolver: 'kube-dns.kube-system.svc.cluster.local',
  routerImage: 'nginx:1.28',
  routerReplicas: 2,
};

const SHARDER = {
  name: 'sharder',
  namespace: 'default',
  image: 'registry.example.org/sharder:0.1.0',
  replicas: 2,
  secret: 'sharder',
  hasTrustedProxies: true,
  settings: 'trusted_proxies: 192.0.2.0/24\nkinds:\n  hub:\n    buckets: [hub-0]\n',
  hosts: ['sharder.example'],
};

interface PodSpec {
  readonly automountServiceAccountToken: boolean;
  readonly securityContext: { readonly runAsNonRoot: boolean; readonly runAsUser: number };
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
}
interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly resources: { readonly requests: object; readonly limits: { readonly memory: string } };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string }[];
  readonly readinessProbe?: object;
}

function podsOf(stream: string): PodSpec[] {
  const all = manifests(stream).map(({ spec }) => (spec ?? {}) as { template?: { spec: PodSpec } });
  return all.flatMap((spec) => (spec.template ? [spec.template.spec] : []));
}

const streams = {
  'a sharded service': renderKubernetes(SERVICE),
  'the Sharder itself': renderSharder(SHARDER),
  'a service with names that YAML could take for something else': renderKubernetes({
    ...SERVICE,
    name: 'on',
    namespace: '1e3',
    image: 'no',
    shards: 1,
    urlPattern: '^/"(\\{[^}]*\\})#: \'/',
  }),
  'a Sharder whose settings are odd text': renderSharder({
    ...SHARDER,
    name: 'null',
    settings: '  # begins with spaces: "{{ }}"\n\ttab # 🙂\n---\n%YAML\nno end of line',
  }),
};

describe('the manifests', () => {
  for (const [what, stream] of Object.entries(streams)) {
    it(`of ${what} are what Kubernetes' own schemas allow, and no more`, () => {
      for (const each of manifests(stream)) assert.deepEqual(validate(each), []);
    });

    it(`of ${what} give no pod more than it needs`, () => {
      const pods = podsOf(stream);
      assert.ok(pods.length > 0);
      for (const pod of pods) {
        assert.equal(pod.automountServiceAccountToken, false);
        assert.equal(pod.securityContext.runAsNonRoot, true);
        assert.ok(pod.securityContext.runAsUser > 0);
        for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
          assert.deepEqual(container.securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          assert.ok(container.resources.limits.memory, container.name);
          const volumes = pod.volumes.map(({ name }) => name);
          for (const { name } of container.volumeMounts) assert.ok(volumes.includes(name), name);
        }
        for (const { readinessProbe } of pod.containers) assert.ok(readinessProbe);
      }
    });

    it(`of ${what} have selectors that find their pods, and a budget for each`, () => {
      const all = manifests(stream);
      const templates = all.flatMap((each) => {
        const { template } = (each.spec ?? {}) as Partial<StatefulSetSpec>;
        return template ? [template.metadata.labels] : [];
      });
      for (const { kind, spec, metadata } of all) {
        const { selector } = (spec ?? {}) as { selector?: { matchLabels?: object } };
        if (selector === undefined) continue;
        const labels = Object.entries(selector.matchLabels ?? selector);
        const found = templates.filter((own) => labels.every(([key, value]) => own[key] === value));
        assert.equal(found.length, 1, `${kind} ${metadata.name}`);
      }
      const budgets = all.filter(({ kind }) => kind === 'PodDisruptionBudget');
      assert.equal(budgets.length, templates.length);
    });
  }

  it('of the Sharder let in only what is labelled, and need the proxy secret', () => {
    const stream = streams['the Sharder itself'];
    const { spec } = manifest(stream, 'NetworkPolicy', 'sharder');
    const labelled = { matchLabels: { 'sharder/client': 'true' } };
    assert.deepEqual((spec as { ingress: unknown }).ingress, [
      {
        from: [{ podSelector: labelled }, { namespaceSelector: labelled }],
        ports: [{ protocol: 'TCP', port: 'http' }],
      },
    ]);
    const [pod] = podsOf(stream);
    const secret = pod?.containers[0]?.env?.find(({ name }) => name === 'SHARDER_PROXY_SECRET');
    assert.deepEqual(secret, {
      name: 'SHARDER_PROXY_SECRET',
      valueFrom: { secretKeyRef: { name: 'sharder', key: 'proxy-secret' } },
    });
  });

  it('would be refused with a field too many, or one of another type', () => {
    const set = manifest(streams['a sharded service'], 'StatefulSet', 'x');
    const spec = set.spec as StatefulSetSpec;
    assert.deepEqual(validate({ ...set, spec: { ...spec, replica: 3 } }), [
      '/spec/replica is unknown',
    ]);
    assert.match(validate({ ...set, spec: { ...spec, replicas: '3' } }).join(), /integer/);
  });

  it('keep odd settings byte for byte', () => {
    const settings = '  # begins with spaces: "{{ }}"\n\ttab # 🙂\n---\n%YAML\nno end of line';
    const stream = streams['a Sharder whose settings are odd text'];
    assert.equal(manifest(stream, 'ConfigMap', 'null').data?.['sharder.yml'], settings);
  });

  it('of the Sharder have no secret and no password, but where it is', () => {
    const stream = streams['the Sharder itself'];
    assert.ok(!manifests(stream).some(({ kind }) => kind === 'Secret'));
    const [pod] = podsOf(stream);
    const [migrate] = pod?.initContainers ?? [];
    assert.deepEqual(migrate?.args, ['migrate']);
    for (const { env = [] } of [...(pod?.containers ?? []), ...(pod?.initContainers ?? [])]) {
      for (const { name, value } of env)
        assert.equal(value === undefined, !['SHARDER_LISTEN', 'SHARDER_HOSTS'].includes(name));
    }
  });

  it('start other pods when the configuration is another, and no others', () => {
    const annotations = (shards: number, replicas: number) => {
      const stream = renderKubernetes({ ...SERVICE, shards, routerReplicas: replicas });
      return /sharder\/config: "(\w+)"/.exec(stream)?.[1];
    };
    assert.equal(annotations(3, 2), annotations(3, 5));
    assert.notEqual(annotations(3, 2), annotations(4, 2));
  });
});

describe('the rendered service, with processes for pods', needsNginx, () => {
  const addresses = new Map<string, string>();
  const cleanups: (() => Promise<unknown>)[] = [];
  let port: number;
  let names: Awaited<ReturnType<typeof startNameServer>>;
  let router: Nginx;
  const pods: ChildProcess[] = [];
  const keys = Array.from({ length: 400 }, (_, i) => `user-${i}`);

  const rendered = (shards: number): string => renderKubernetes({ ...SERVICE, port, shards });

  /** Starts the pod of this number at an address, and gives it its name. */
  async function start(shards: number, index: number, address: string) {
    const set = manifest(rendered(shards), 'StatefulSet', 'x');
    const pod = await startPod(environmentOf(set, index), address);
    addresses.set(`x-${index}.x.default.svc.cluster.local`, address);
    return pod;
  }

  // Changed are only the port that nginx listens on, the name server, and the directory.
  async function startRouter(shards: number): Promise<Nginx> {
    const { data } = manifest(rendered(shards), 'ConfigMap', 'x-router');
    const [own, health] = [await freePort(), await freePort()];
    const nginx = await Nginx.start({
      sharders: [],
      upstreams: '',
      port: own,
      edit: {
        'nginx.conf': () =>
          (data?.['nginx.conf'] ?? '')
            .replace('listen 8080 default_server', `listen 127.0.0.1:${own} default_server`)
            .replace('listen 8081', `listen 127.0.0.1:${health}`)
            .replace('kube-dns.kube-system.svc.cluster.local', `127.0.0.1:${names.port}`)
            .replaceAll('/tmp/', 'tmp/'),
      },
    });
    cleanups.push(() => nginx.stop());
    assert.equal((await fetch(`http://127.0.0.1:${health}/healthz`)).status, 200);
    return nginx;
  }

  async function ask(nginx: Nginx, path: string): Promise<string> {
    const response = await fetch(`${nginx.url}${path}`);
    const text = await response.text();
    return response.status === 200 ? text : String(response.status);
  }

  async function podOfEach(nginx: Nginx): Promise<Map<string, string>> {
    const pods = new Map<string, string>();
    for (const key of keys) pods.set(key, await ask(nginx, `/users/${key}/x`));
    return pods;
  }

  before(async () => {
    port = await freePort();
    names = await startNameServer(addresses);
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  it('tells each pod who it is, and sends each key to one of them, and some to each', async () => {
    for (const index of [0, 1, 2]) pods.push(await start(3, index, `127.0.0.${index + 10}`));
    router = await startRouter(3);
    const first = await podOfEach(router);
    const counts = [0, 1, 2].map(
      (index) => [...first.values()].filter((pod) => pod === `x-${index} ${index} 3`).length,
    );
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      keys.length,
      [...new Set(first.values())].join(),
    );
    for (const count of counts) assert.ok(count > 80 && count < 190, counts.join());
    for (const [key, pod] of [...first].slice(0, 100))
      assert.equal(await ask(router, `/users/${key}/other/page?q=${key}`), pod);
    assert.deepEqual(
      [...names.asked].sort(),
      [0, 1, 2].map((index) => `x-${index}.x.default.svc.cluster.local`),
    );
  });

  it('passes the path on as it came, and says where it came from', async () => {
    const raw = '/users/a%2Fb%20c/%7E//x?y=%20z';
    const response = await exchange(router.port, get(raw));
    assert.equal(response?.headers.get('seen-url'), raw);
    assert.equal(response.headers.get('seen-host'), 'localhost');
    assert.equal(response.headers.get('seen-for'), '127.0.0.1');
  });

  it('finds a pod again that comes back with another address, and nobody takes its keys meanwhile', async () => {
    const before = await podOfEach(router);
    const own = keys.filter((key) => before.get(key) === 'x-1 1 3');
    const pod = pods[1];
    assert.ok(pod);
    await stopPod(pod);
    addresses.delete('x-1.x.default.svc.cluster.local');
    for (const key of own.slice(0, 20)) assert.equal(await ask(router, `/users/${key}/x`), '503');
    await start(3, 1, '127.0.0.21');
    await eventually('x-1 is found', async () => {
      return (await ask(router, `/users/${own[0] ?? ''}/x`)) === 'x-1 1 3';
    });
    assert.deepEqual(await podOfEach(router), before);
  });

  it('with one shard more sends a quarter of the keys to it, and no other elsewhere', async () => {
    const before = await podOfEach(router);
    await start(4, 3, '127.0.0.13');
    const after = await podOfEach(await startRouter(4));
    const moved = keys.filter((key) => before.get(key) !== after.get(key));
    for (const key of moved) assert.equal(after.get(key), 'x-3 3 4');
    assert.ok(moved.length > 60 && moved.length < 140, String(moved.length));
  });
});
