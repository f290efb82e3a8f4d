// A StatefulSet without Kubernetes: its pods as processes with the environment that its YAML says, each on a
// loopback address of its own, and a name server that knows them as a headless Service's does.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after } from 'node:test';
import { parseAllDocuments } from 'yaml';

/** An object of Kubernetes, as far as the tests look into it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec?: unknown;
  readonly data?: Readonly<Record<string, string>>;
}

/** The objects of a stream of YAML, read as kubectl does: by YAML 1.1. */
export function manifests(stream: string): Manifest[] {
  return parseAllDocuments(stream, { version: '1.1' }).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
}

export function manifest(stream: string, kind: string, name: string): Manifest {
  const found = manifests(stream).find((each) => each.kind === kind && each.metadata.name === name);
  assert.ok(found, `${kind} ${name}`);
  return found;
}

export interface StatefulSetSpec {
  readonly replicas: number;
  readonly serviceName: string;
  readonly template: {
    readonly metadata: { readonly labels: Readonly<Record<string, string>> };
    readonly spec: {
      readonly containers: readonly {
        readonly env: readonly {
          readonly name: string;
          readonly value?: string;
          readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
        }[];
      }[];
    };
  };
}

/** What Kubernetes 1.28 gives the pod of this number: the downward API, and the name as HOSTNAME. */
export function environmentOf({ metadata, spec }: Manifest, index: number): Record<string, string> {
  const { template } = spec as StatefulSetSpec;
  const name = `${metadata.name}-${index}`;
  const labels: Readonly<Record<string, string>> = {
    ...template.metadata.labels,
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(index),
  };
  const [container] = template.spec.containers;
  const entries = (container?.env ?? []).map(({ name, value, valueFrom }) => {
    if (valueFrom === undefined) return [name, value ?? ''];
    const [, label = ''] =
      /^metadata\.labels\['([^']+)'\]$/.exec(valueFrom.fieldRef.fieldPath) ?? [];
    assert.ok(label in labels, `the downward API has no ${valueFrom.fieldRef.fieldPath}`);
    return [name, labels[label] ?? ''];
  });
  return { HOSTNAME: name, ...(Object.fromEntries(entries) as Record<string, string>) };
}

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

// The service of the tutorial, which tells who it is. A pod has an address of its own; here it is told.
const SERVICE = `
  const { HOSTNAME, SHARD_INDEX, NUM_SHARDS, PORT, POD_IP } = process.env;
  require('node:http').createServer((request, response) => {
    response.setHeader('seen-url', request.url);
    response.setHeader('seen-host', request.headers.host);
    response.setHeader('seen-for', request.headers['x-forwarded-for']);
    response.end([HOSTNAME, SHARD_INDEX, NUM_SHARDS].join(' '));
  }).listen(Number(PORT), POD_IP, () => console.log('listens'));`;

/** Starts a pod; resolves when it listens. */
export async function startPod(
  environment: Readonly<Record<string, string>>,
  address: string,
): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', SERVICE], {
    env: { PATH: process.env.PATH, ...environment, POD_IP: address },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  await once(child.stdout, 'data');
  // A test that fails ends all the same.
  child.stdout.destroy();
  child.unref();
  return child;
}

export async function stopPod(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.ref();
  child.kill('SIGTERM');
  await exited;
  running.delete(child);
}

/** A name server on loopback that answers from `addresses`, which may change. */
export async function startNameServer(
  addresses: ReadonlyMap<string, string>,
): Promise<{ port: number; asked: Set<string> }> {
  const asked = new Set<string>();
  const socket = createSocket('udp4', (query, { port, address }) => {
    let at = 12;
    const labels: string[] = [];
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = labels.join('.');
    asked.add(name);
    const question = query.subarray(12, at + 5);
    const isA = query.readUInt16BE(at + 1) === 1;
    const found = addresses.get(name);
    const count = found !== undefined && isA ? 1 : 0;
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(found === undefined ? 0x8183 : 0x8180, 2); // no such name, or no error
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(count, 6);
    // The name of the question once more, A, IN, 5 seconds, four bytes.
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
    const bytes = Buffer.from((found ?? '').split('.').map(Number));
    socket.send(
      Buffer.concat([head, question, ...(count === 1 ? [answer, bytes] : [])]),
      port,
      address,
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.unref();
  return { port: socket.address().port, asked };
}
