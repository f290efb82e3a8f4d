// Kubernetes' own schemas, without Kubernetes: kubernetes-models has them.

import { ConfigMap, Service } from 'kubernetes-models/v1';
import { Deployment, StatefulSet } from 'kubernetes-models/apps/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { Manifest } from './pods.js';

const KINDS = [
  ConfigMap,
  Service,
  Deployment,
  StatefulSet,
  PodDisruptionBudget,
  NetworkPolicy,
] as const;
const TOP = ['apiVersion', 'kind', 'metadata', 'spec', 'data'];

/** What is wrong with it: what the schema says, and fields that the schema does not know. */
export function validate(manifest: Manifest): string[] {
  const Kind = KINDS.find(
    ({ kind, apiVersion }) => kind === manifest.kind && apiVersion === manifest.apiVersion,
  );
  if (!Kind) return [`no ${manifest.apiVersion} ${manifest.kind}`];
  const unread = new Set<string>();
  // The schemas allow fields that they do not know. Those are the ones that they never look at.
  const watched = watch(manifest, '', unread);
  try {
    Kind.prototype.validate.call(watched as StatefulSet);
  } catch (error) {
    return [(error as Error).message];
  }
  const unknown = Object.keys(manifest).filter((key) => !TOP.includes(key));
  return [...unknown, ...unread].map((field) => `${field} is unknown`);
}

function watch(value: unknown, path: string, unread: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const copies = new Map<PropertyKey, unknown>();
  for (const [key, each] of Object.entries(value)) {
    unread.add(`${path}/${key}`);
    copies.set(key, watch(each, `${path}/${key}`, unread));
  }
  return new Proxy(value, {
    get(target, key, receiver) {
      if (typeof key === 'string') unread.delete(`${path}/${key}`);
      return copies.has(key) ? copies.get(key) : (Reflect.get(target, key, receiver) as unknown);
    },
  });
}
