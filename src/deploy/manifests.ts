// What manifests of Kubernetes have in common.

import { stringify } from 'yaml';

/** One stream of YAML: a first comment, and the objects. */
export function documents(comment: string, objects: readonly string[]): string {
  return `${comment}${objects.map((object) => `---\n${object}`).join('')}`;
}

/** A text as a value of YAML on one line, in quotes where YAML 1.1 or 1.2 would take it for something else. */
export function scalar(text: string): string {
  const plain = stringify(text, { version: '1.1', lineWidth: 0 }).trimEnd();
  return /^[\w./@-]+$/.test(plain) ? plain : JSON.stringify(text);
}

/** The recommended labels. They are the selectors too, which never change. */
export function labels(name: string, component: string, spaces: number): string {
  const before = ' '.repeat(spaces);
  return `${before}app.kubernetes.io/name: ${scalar(name)}\n${before}app.kubernetes.io/component: ${component}`;
}

/** What an object is called, with its `labels`, indented by four. */
export function metadata(
  { name, namespace }: { readonly name: string; readonly namespace: string },
  labels: string,
): string {
  return `metadata:
  name: ${scalar(name)}
  namespace: ${scalar(namespace)}
  labels:
${labels}
`;
}

/** Of a pod: that it is not root, and has no key to the cluster. */
export function confined(user: number): string {
  return `automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: ${user}
  runAsGroup: ${user}
  fsGroup: ${user}
  seccompProfile:
    type: RuntimeDefault`;
}

/** Of a container: that it can write to its volumes alone, and become nobody else. */
export function restricted(): string {
  return `securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]`;
}

/** Of a pod: that those of its component are on as many nodes as there are. */
export function spread(name: string, component: string): string {
  return `topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
${labels(name, component, 8)}`;
}
