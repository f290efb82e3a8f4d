// The manifests of a sharded service for Kubernetes 1.28 and later: a StatefulSet whose pods are the shards,
// and in front of it a router of nginx that has as many replicas as one likes.

import { createHash } from 'node:crypto';
import { indent, renderRouter } from './router.js';
import type { ShardedService } from './sharded.js';
import { confined, documents, labels, metadata, restricted, scalar, spread } from './manifests.js';

export interface KubernetesService extends ShardedService {
  readonly image: string;
  readonly namespace: string;
  readonly clusterDomain: string;
  /** The cluster's name server: a host or an address. */
  readonly resolver: string;
  readonly routerImage: string;
  readonly routerReplicas: number;
}

const ROUTER_PORT = 8080;
const HEALTH_PORT = 8081;

/** One stream of YAML. All values must have been checked. */
export function renderKubernetes(service: KubernetesService): string {
  return documents(
    `# Written by \`sharder render kubernetes\`: ${service.name}, ${service.shards} shards behind a router.\n`,
    [
      shardsService(service),
      statefulSet(service),
      disruptionBudget(service, 'shard', service.name),
      configMap(service),
      routerService(service),
      routerDeployment(service),
      disruptionBudget(service, 'router', `${service.name}-router`),
    ],
  );
}

/** The configuration of the router's nginx. */
export function routerOf(service: KubernetesService): string {
  const { name, shards, urlPattern, port, namespace, clusterDomain, resolver } = service;
  return renderRouter({
    trustedProxies: service.trustedProxies,
    name,
    shards,
    pattern: urlPattern,
    listen: String(ROUTER_PORT),
    health: String(HEALTH_PORT),
    dir: '/tmp',
    places: {
      suffix: `.${name}.${namespace}.svc.${clusterDomain}`,
      port,
      resolver: `${resolver} valid=5s`,
    },
  });
}

function shardsService({ name, namespace, port }: KubernetesService): string {
  return `# Gives each shard its name: ${name}-0.${name}. It has no address of its own.
apiVersion: v1
kind: Service
${metadata({ name, namespace }, labels(name, 'shard', 4))}spec:
  clusterIP: None
  # A shard that is not ready has no name, and its keys are answered 503: no other shard takes them.
  publishNotReadyAddresses: false
  selector:
${labels(name, 'shard', 4)}
  ports:
    - name: http
      port: ${port}
      targetPort: http
`;
}

function statefulSet({ name, namespace, image, shards, port }: KubernetesService): string {
  return `apiVersion: apps/v1
kind: StatefulSet
${metadata({ name, namespace }, labels(name, 'shard', 4))}spec:
  replicas: ${shards}
  serviceName: ${scalar(name)}
  # All start at once. An update still takes one after the other.
  podManagementPolicy: Parallel
  selector:
    matchLabels:
${labels(name, 'shard', 6)}
  template:
    metadata:
      labels:
${labels(name, 'shard', 8)}
    spec:
${indent(confined(10001), 6)}
${indent(spread(name, 'shard'), 6)}
      containers:
        - name: shard
          image: ${scalar(image)}
          env:
            - name: PORT
              value: "${port}"
            - name: NUM_SHARDS
              value: "${shards}"
            # Which of them it is, from 0. Kubernetes sets the label from 1.28 on.
            - name: SHARD_INDEX
              valueFrom:
                fieldRef:
                  fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
          ports:
            - name: http
              containerPort: ${port}
          # Whether it listens. If it has a page that says how it is, httpGet is better. There is no
          # livenessProbe: one that ends is started again anyway, and one that is slow is not helped by it.
          readinessProbe:
            tcpSocket:
              port: http
            periodSeconds: 5
          # What it needs is for you to say.
          resources:
            requests:
              cpu: 100m
              memory: 128Mi
            limits:
              memory: 512Mi
${indent(restricted(), 10)}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tmp
          emptyDir: {}
`;
}

function disruptionBudget(
  { name, namespace }: KubernetesService,
  component: string,
  own: string,
): string {
  return `apiVersion: policy/v1
kind: PodDisruptionBudget
${metadata({ name: own, namespace }, labels(name, component, 4))}spec:
  maxUnavailable: 1
  selector:
    matchLabels:
${labels(name, component, 6)}
`;
}

function configMap(service: KubernetesService): string {
  const { name, namespace } = service;
  return `apiVersion: v1
kind: ConfigMap
${metadata({ name: `${name}-router`, namespace }, labels(name, 'router', 4))}data:
  nginx.conf: |
${indent(routerOf(service), 4)}`;
}

function routerService({ name, namespace }: KubernetesService): string {
  return `# What others talk to.
apiVersion: v1
kind: Service
${metadata({ name: `${name}-router`, namespace }, labels(name, 'router', 4))}spec:
  selector:
${labels(name, 'router', 4)}
  ports:
    - name: http
      port: 80
      targetPort: http
`;
}

function routerDeployment(service: KubernetesService): string {
  const { name, namespace, routerImage, routerReplicas } = service;
  const hash = createHash('sha256').update(routerOf(service)).digest('hex').slice(0, 16);
  return `# It keeps nothing: every replica finds the same shard for a key.
apiVersion: apps/v1
kind: Deployment
${metadata({ name: `${name}-router`, namespace }, labels(name, 'router', 4))}spec:
  replicas: ${routerReplicas}
  selector:
    matchLabels:
${labels(name, 'router', 6)}
  template:
    metadata:
      labels:
${labels(name, 'router', 8)}
      annotations:
        # Another configuration starts other pods: nginx reads it once.
        sharder/config: "${hash}"
    spec:
${indent(confined(101), 6)}
${indent(spread(name, 'router'), 6)}
      terminationGracePeriodSeconds: 30
      containers:
        - name: nginx
          image: ${scalar(routerImage)}
          command: [nginx, -e, stderr, -c, /etc/router/nginx.conf]
          ports:
            - name: http
              containerPort: ${ROUTER_PORT}
            - name: health
              containerPort: ${HEALTH_PORT}
          readinessProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 5
          livenessProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 10
            timeoutSeconds: 5
          lifecycle:
            preStop:
              exec:
                # Until no more requests are sent here.
                command: [sleep, "5"]
          resources:
            requests:
              cpu: 100m
              memory: 64Mi
            limits:
              memory: 256Mi
${indent(restricted(), 10)}
          volumeMounts:
            - name: config
              mountPath: /etc/router
              readOnly: true
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          configMap:
            name: ${scalar(`${name}-router`)}
        - name: tmp
          emptyDir: {}
`;
}
