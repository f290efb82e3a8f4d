// sharder render kubernetes | compose | systemd | kubernetes-sharder: prints files for those who run them.
// It asks no database, and applies nothing.

import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig, type Flags } from '../config.js';
import {
  checkDomain,
  checkImage,
  checkListen,
  checkName,
  checkNamespace,
  checkSharded,
  nameOfImage,
  type ShardedService,
} from '../deploy/sharded.js';
import { parse } from 'yaml';
import { refuseDatabase } from './own-files.js';
import { SharderError } from '../errors.js';

export interface ShardedOptions extends Omit<ShardedService, 'name'> {
  readonly name?: string;
  readonly output?: string;
}

export interface ImageOptions extends ShardedOptions {
  readonly image: string;
  readonly routerImage: string;
}

export interface KubernetesOptions extends ImageOptions {
  readonly namespace: string;
  readonly clusterDomain: string;
  readonly resolver?: string;
  readonly routerReplicas: number;
}

export async function renderForKubernetes(options: KubernetesOptions): Promise<void> {
  const { namespace, clusterDomain } = options;
  const resolver = options.resolver ?? `kube-dns.kube-system.svc.${clusterDomain}`;
  const service = { ...options, ...named(options), resolver };
  checkNamespace(namespace);
  checkDomain('--cluster-domain', clusterDomain);
  checkDomain('--resolver', resolver);
  checkReplicas('--router-replicas', options.routerReplicas);
  const { renderKubernetes } = await import('../deploy/kubernetes.js');
  print(renderKubernetes(service), options.output);
}

export async function renderForCompose(
  options: ImageOptions & { readonly publish: number },
): Promise<void> {
  const service = { ...options, ...named(options) };
  if (options.publish < 1 || options.publish > 65_535) {
    throw new SharderError('settings', `--publish: ${options.publish} is no port: 1 to 65535`);
  }
  const { renderCompose } = await import('../deploy/compose.js');
  print(renderCompose(service), options.output);
}

export async function renderForSystemd(
  command: readonly string[],
  options: ShardedOptions & { readonly listen: string; readonly name: string },
): Promise<void> {
  checkSharded(options);
  checkListen(options.listen, options);
  if (!(command[0] ?? '').startsWith('/')) {
    throw new SharderError(
      'settings',
      `${JSON.stringify(command[0])} is no path of a program: systemd needs all of it, such as /usr/bin/node`,
    );
  }
  const { renderSystemd } = await import('../deploy/systemd.js');
  const files = renderSystemd({ ...options, command });
  if (options.output === undefined) {
    const parts = [...files].map(([name, text]) => `# --- ${name}\n${text}`);
    process.stdout.write(parts.join('\n'));
    return;
  }
  mkdirSync(options.output, { recursive: true, mode: 0o755 });
  for (const [name, text] of files)
    writeFileSync(join(options.output, name), text, { mode: 0o644 });
}

export async function renderSharderForKubernetes(
  options: Flags & {
    readonly image: string;
    readonly name: string;
    readonly namespace: string;
    readonly replicas: number;
    readonly secret: string;
    readonly output?: string;
  },
): Promise<void> {
  checkImage('--image', options.image);
  checkName('--name', options.name);
  checkName('--secret', options.secret);
  checkNamespace(options.namespace);
  checkReplicas('--replicas', options.replicas);
  const file = options.configFile ?? 'sharder.yml';
  if (!existsSync(file)) {
    throw new SharderError(
      'settings',
      `${file} is not there: name the settings of the Sharder by --config-file`,
    );
  }
  const { hosts } = readConfig({ configFile: file }, {});
  const { renderSharder } = await import('../deploy/kubernetes-sharder.js');
  const settings = readFileSync(file, 'utf8');
  const { trusted_proxies } = (parse(settings) ?? {}) as { trusted_proxies?: unknown };
  const hasTrustedProxies = trusted_proxies !== undefined;
  print(renderSharder({ ...options, settings, hosts, hasTrustedProxies }), options.output);
}

function named(options: ImageOptions): { readonly name: string } {
  const { image, routerImage } = options;
  checkImage('--image', image);
  checkImage('--router-image', routerImage);
  const name = options.name ?? nameOfImage(image);
  checkSharded({ ...options, name });
  return { name };
}

function checkReplicas(option: string, replicas: number): void {
  if (replicas >= 1 && replicas <= 1000) return;
  throw new SharderError('settings', `${option}: ${replicas} cannot be: 1 to 1000 are allowed`);
}

function print(text: string, output: string | undefined): void {
  if (output === undefined) process.stdout.write(text);
  else if (existsSync(output) && statSync(output).isDirectory())
    throw new SharderError('settings', `--output: ${output} is a directory: name a file`);
  else {
    refuseDatabase(output);
    writeFileSync(output, text, { mode: 0o644 });
  }
}
