// What the tests with a real JupyterHub have in common.

import type { Page } from 'playwright-core';
import { hasJupyterHub } from '../examples/jupyterhub/hub.js';
import { needsChromium } from './chromium.js';
import { needsNginx } from './nginx.js';

const isMissing = !hasJupyterHub();
if (isMissing && process.env.CI) {
  throw new Error('jupyterhub is not installed: run test/install-servers.sh');
}

/** For `describe`: a hub, a browser, and nginx before it. */
export const needsJupyterHub = {
  skip:
    needsNginx.skip ||
    needsChromium.skip ||
    (isMissing && 'jupyterhub is not installed: run test/install-servers.sh'),
};

// In the page.
const RUN = `async (code) => {
  const base = document.body.dataset.baseUrl;
  const xsrf = /_xsrf=([^;]+)/.exec(document.cookie)[1];
  const made = await fetch(base + 'api/kernels', { method: 'POST', headers: { 'X-XSRFToken': xsrf } });
  if (!made.ok) throw new Error('no kernel: ' + made.status + ' ' + (await made.text()));
  const { id } = await made.json();
  const socket = new WebSocket('ws://' + location.host + base + 'api/kernels/' + id + '/channels');
  let printed = '';
  const header = { msg_id: 'run', msg_type: 'execute_request', username: '', session: 'test', version: '5.3' };
  const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false };
  await new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error('the WebSocket broke'));
    socket.onclose = ({ code }) => reject(new Error('the WebSocket was closed: ' + code));
    socket.onopen = () =>
      socket.send(JSON.stringify({ header, content, channel: 'shell', parent_header: {}, metadata: {} }));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.parent_header.msg_id !== 'run') return;
      if (message.header.msg_type === 'stream') printed += message.content.text;
      if (message.header.msg_type === 'error') reject(new Error(message.content.evalue));
      if (message.content.execution_state === 'idle') resolve();
    };
  });
  socket.onclose = null;
  socket.close();
  return printed;
}`;

/** In a page of a notebook server: has a kernel run Python, over its WebSocket; what it printed. */
export async function runInKernel(page: Page, code: string): Promise<string> {
  return String(await page.evaluate(`(${RUN})(${JSON.stringify(code)})`)).trim();
}
