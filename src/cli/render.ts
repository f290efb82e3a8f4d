// sharder render …

import type { Command } from 'commander';
import { optionsOf, whole, words } from './options.js';

// Both are of an nginx that runs as somebody else than root, with all that it writes in /tmp.
const NGINX_IMAGE = 'nginx:1.28';

export function addRender(program: Command): void {
  const render = program
    .command('render')
    .summary('files for nginx, Kubernetes, Compose, systemd')
    .description(
      'print files for others: the buckets for nginx, a sharded service for what runs it',
    );
  render.commandsGroup('Of the buckets:');
  render
    .command('nginx')
    .description("the buckets' addresses, for the block http of nginx")
    .option('--output <file>', 'write it there, at once and whole; default: standard output')
    .option('--watch', 'write it again whenever the buckets change, and have nginx read it')
    .option('--reload <command>', 'how nginx is told, with --watch', 'nginx -t && nginx -s reload')
    .action(async (_options, command: Command) => {
      const { render } = await import('../commands/render.js');
      await render(optionsOf(command));
    });
  render.commandsGroup('Of a sharded service:');
  addKubernetes(render);
  addCompose(render);
  addSystemd(render);
  render.commandsGroup('Of the Sharder itself:');
  addSharder(render);
}

function sharded(command: Command, port: number): Command {
  return command
    .requiredOption('--shards <n>', 'how many there are', whole)
    .requiredOption('--url-pattern <regex>', "its first group in a request's path is the key")
    .option('--port <port>', 'where a shard listens; it is told as PORT', whole, port)
    .option(
      '--trusted-proxies <networks>',
      'proxies in front, separated by commas, whose X-Forwarded-… headers are passed on (default: none)',
      words,
    );
}

function inImages(command: Command): Command {
  return sharded(command.requiredOption('--image <image>', 'what a shard runs'), 8080)
    .option('--name <name>', "the shards are NAME-0, NAME-1, …; default: the image's")
    .option('--router-image <image>', 'an nginx, 1.22 or later', NGINX_IMAGE);
}

function addKubernetes(render: Command): void {
  inImages(render.command('kubernetes'))
    .summary('a StatefulSet of shards, and their router')
    .description('print the manifests of a sharded service: a StatefulSet, and a router before it')
    .option('--namespace <namespace>', "it is a part of the shards' names", 'default')
    .option('--router-replicas <n>', 'how many routers', whole, 2)
    .option('--cluster-domain <domain>', "the cluster's own", 'cluster.local')
    .option('--resolver <host>', 'its name server; default: kube-dns.kube-system.svc.DOMAIN')
    .option('--output <file>', 'write it there; default: standard output')
    .action(async (_options, command: Command) => {
      const { renderForKubernetes } = await import('../commands/render-sharded.js');
      await renderForKubernetes(optionsOf(command));
    });
}

function addCompose(render: Command): void {
  inImages(render.command('compose'))
    .summary('the same for Compose')
    .description('print a file for Compose: the shards of a service, and their router')
    .option('--publish <port>', "the router's port on this machine", whole, 8080)
    .option('--output <file>', 'write it there; default: standard output')
    .action(async (_options, command: Command) => {
      const { renderForCompose } = await import('../commands/render-sharded.js');
      await renderForCompose(optionsOf(command));
    });
}

function addSystemd(render: Command): void {
  sharded(render.command('systemd'), 8081)
    .summary('the same as units of systemd')
    .description(
      "print units of systemd: the shards of a service, and the machine's nginx as router",
    )
    .argument('<command...>', 'what a shard runs, after --: a program with its whole path')
    .requiredOption('--name <name>', 'the shards are NAME@0, NAME@1, …')
    .option('--listen <host:port>', 'where the router listens', '127.0.0.1:8080')
    .option('--output <dir>', 'write each file there; default: all to standard output')
    .action(async (words: string[], _options, command: Command) => {
      const { renderForSystemd } = await import('../commands/render-sharded.js');
      await renderForSystemd(words, optionsOf(command));
    });
}

function addSharder(render: Command): void {
  render
    .command('kubernetes-sharder')
    .summary('the Sharder as a Deployment on PostgreSQL')
    .description('print the manifests of the Sharder itself, with the settings of sharder.yml')
    .requiredOption('--image <image>', "the Dockerfile's")
    .option('--name <name>', 'what it is called', 'sharder')
    .option('--namespace <namespace>', 'where it is', 'default')
    .option('--replicas <n>', 'how many', whole, 2)
    .option('--secret <name>', "the Secret with the database's URL, which you make", 'sharder')
    .option('--output <file>', 'write it there; default: standard output')
    .action(async (_options, command: Command) => {
      const { renderSharderForKubernetes } = await import('../commands/render-sharded.js');
      await renderSharderForKubernetes(optionsOf(command));
    });
}
