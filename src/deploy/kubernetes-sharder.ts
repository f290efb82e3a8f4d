// The manifests of the Sharder itself for Kubernetes: as many replicas as one likes on one PostgreSQL. What
// is secret is in a Secret that somebody has made, and never in a manifest.

import { createHash } from 'node:crypto';
import { stringify } from 'yaml';
import { confined, documents, labels, metadata, restricted, scalar, spread } from './manifests.js';
import { indent } from './router.js';

export interface SharderOnKubernetes {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  readonly replicas: number;
  /** The Secret with `database-url` and `proxy-secret`. */
  readonly secret: string;
  /** Whether the settings say whose address may name users. If not, the proxy secret alone says it. */
  readonly hasTrustedProxies: boolean;
  /** The text of sharder.yml. */
  readonly settings: string;
  /** The setting `hosts` of that text. The names of the Service are added. */
  readonly hosts: readonly string[];
}

const PORT = 8888;

/** What is taken from the Secret. */
const DATABASE = ['DATABASE_URL', 'database-url'] as const;
const REQUIRED = [DATABASE, ['SHARDER_PROXY_SECRET', 'proxy-secret']] as const;
const OPTIONAL = [
  ['SHARDER_LOGIN_SECRET', 'login-secret'],
  ['SHARDER_COOKIE_SECRET', 'cookie-secret'],
  ['SHARDER_ADMIN_TOKEN', 'admin-token'],
  ['SHARDER_LOG_KEY', 'log-key'],
] as const;

/** One stream of YAML. All values must have been checked. */
export function renderSharder(sharder: SharderOnKubernetes): string {
  const { namespace, secret } = sharder;
  return documents(
    `# Written by \`sharder render kubernetes-sharder\`. It needs a Secret. Make it once, from files that nobody else
# can read:
#
#   kubectl -n ${namespace} create secret generic ${secret} --from-file=database-url=FILE --from-file=proxy-secret=FILE
#
# and add login-secret, cookie-secret, admin-token and log-key if you use them. The edge sends the proxy secret
# (openssl rand -hex 32) in X-Shard-Proxy-Secret. The NetworkPolicy lets it in by a label on its pods, or on its
# namespace:
#
#   kubectl label namespace EDGE ${CLIENT}=true
`,
    [
      configMap(sharder),
      service(sharder),
      deployment(sharder),
      disruptionBudget(sharder),
      networkPolicy(sharder),
    ],
  );
}

function configMap(sharder: SharderOnKubernetes): string {
  const { name, settings } = sharder;
  const data = stringify(
    { 'sharder.yml': settings },
    { version: '1.1', lineWidth: 0, blockQuote: 'literal' },
  );
  return `apiVersion: v1
kind: ConfigMap
${metadata(sharder, labels(name, 'sharder', 4))}data:
${indent(data, 2)}`;
}

function service(sharder: SharderOnKubernetes): string {
  const { name } = sharder;
  return `apiVersion: v1
kind: Service
${metadata(sharder, labels(name, 'sharder', 4))}spec:
  selector:
${labels(name, 'sharder', 4)}
  ports:
    - name: http
      port: ${PORT}
      targetPort: http
`;
}

function disruptionBudget(sharder: SharderOnKubernetes): string {
  const { name } = sharder;
  return `apiVersion: policy/v1
kind: PodDisruptionBudget
${metadata(sharder, labels(name, 'sharder', 4))}spec:
  maxUnavailable: 1
  selector:
    matchLabels:
${labels(name, 'sharder', 6)}
`;
}

/** The label of pods, or of namespaces, that may reach the Sharder. */
const CLIENT = 'sharder/client';

function networkPolicy(sharder: SharderOnKubernetes): string {
  const { name } = sharder;
  return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
${metadata(sharder, labels(name, 'sharder', 4))}spec:
  podSelector:
    matchLabels:
${labels(name, 'sharder', 6)}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              ${CLIENT}: "true"
        - namespaceSelector:
            matchLabels:
              ${CLIENT}: "true"
      ports:
        - protocol: TCP
          port: http
`;
}

function deployment(sharder: SharderOnKubernetes): string {
  const { name, image, replicas, settings } = sharder;
  const hash = createHash('sha256').update(settings).digest('hex').slice(0, 16);
  return `apiVersion: apps/v1
kind: Deployment
${metadata(sharder, labels(name, 'sharder', 4))}spec:
  replicas: ${replicas}
  selector:
    matchLabels:
${labels(name, 'sharder', 6)}
  template:
    metadata:
      labels:
${labels(name, 'sharder', 8)}
      annotations:
        # Other settings start other pods: they are read once.
        sharder/config: "${hash}"
    spec:
${indent(confined(1000), 6)}
${indent(spread(name, 'sharder'), 6)}
      terminationGracePeriodSeconds: 20 # what is in flight is answered within ten
      initContainers:
        # Several at once wait for each other. While the database is not there, it is tried again.
        - name: migrate
          image: ${scalar(image)}
          args: [migrate]
          env:
${indent(secretEnvironment(sharder, [DATABASE]), 12)}
${indent(RESOURCES, 10)}
${indent(restricted(), 10)}
${indent(MOUNTS, 10)}
      containers:
        - name: sharder
          image: ${scalar(image)}
          args: [serve]
          env:
            - name: SHARDER_LISTEN
              value: "0.0.0.0:${PORT}"
            # The names that a Prometheus or \`sharder --url\` may use for the management API and /metrics.
            - name: SHARDER_HOSTS
              value: ${scalar(hostsOf(sharder).join(' '))}
${sharder.hasTrustedProxies ? '' : ANY_ADDRESS}${indent(secretEnvironment(sharder, REQUIRED), 12)}
${indent(secretEnvironment(sharder, OPTIONAL, true), 12)}
          ports:
            - name: http
              containerPort: ${PORT}
          # Users come to it once it can use the database ...
          startupProbe:
            httpGet:
              path: /readyz
              port: http
            periodSeconds: 2
            failureThreshold: 60
          # ... and then while it serves: known users also while the database is down.
          readinessProbe:
            httpGet:
              path: /healthz
              port: http
            periodSeconds: 5
          livenessProbe:
            httpGet:
              path: /healthz
              port: http
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          lifecycle:
            preStop:
              exec:
                # Until no more requests are sent here.
                command: [sleep, "5"]
${indent(RESOURCES, 10)}
${indent(restricted(), 10)}
${indent(MOUNTS, 10)}
      volumes:
        - name: settings
          configMap:
            name: ${scalar(name)}
        - name: state
          emptyDir: {}
        - name: tmp
          emptyDir: {}
`;
}

// Addresses of pods change, and users' pods have such addresses too.
const ANY_ADDRESS = `            # The proxy secret decides who may name users.
            - name: SHARDER_TRUSTED_PROXIES
              value: "0.0.0.0/0,::/0"
`;

// The environment hides what the file says, so that is repeated.
function hostsOf({ name, namespace, hosts }: SharderOnKubernetes): string[] {
  const full = `${name}.${namespace}`;
  return [name, full, `${full}.svc`, `${full}.svc.cluster.local`, ...hosts];
}

function secretEnvironment(
  { secret }: SharderOnKubernetes,
  secrets: readonly (readonly [string, string])[],
  isOptional = false,
): string {
  return secrets
    .map(
      ([name, key]) => `- name: ${name}
  valueFrom:
    secretKeyRef:
      name: ${scalar(secret)}
      key: ${key}${isOptional ? '\n      optional: true' : ''}`,
    )
    .join('\n');
}

// 182 MB with ten million users: bench/RESULTS.md.
const RESOURCES = `resources:
  requests:
    cpu: 100m
    memory: 128Mi
  limits:
    memory: 384Mi`;

const MOUNTS = `volumeMounts:
  - name: settings
    mountPath: /etc/sharder
    readOnly: true
  - name: state
    mountPath: /var/lib/sharder
  - name: tmp
    mountPath: /tmp`;
