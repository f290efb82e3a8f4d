// What there is, and how to use it:
//   GET /openapi.json   all routes, as OpenAPI 3.1
//   GET /docs/          the same as a page, on which everything can be tried out
// Both are open: they say what is in the README. The page is Swagger UI, and asks nobody but this service.

import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Router, type RequestHandler } from 'express';
import { SharderError } from '../errors.js';
import { ASSETS, INITIALIZER, OWN_SCRIPT, PAGE } from './page.js';
import { createDocument } from './v1/openapi.js';

// Swagger UI writes styles into its elements, and has its icons as data.
const POLICY = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:"],
  ...["connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join(';');

// Asked for again each time, and sent only if it is another.
const CACHE = 'no-cache';

export function createDocs(userHeader: string): Router {
  const router = Router({ caseSensitive: true, strict: true });

  // Made when first asked for: the start does not wait for it.
  let document: Promise<string> | undefined;
  router.get('/openapi.json', async (_req, res) => {
    document ??= createDocument(userHeader).then((made) => JSON.stringify(made));
    res.type('application/json').send(await document);
  });

  // Relative, for a proxy may have put the service beneath another path.
  router.get('/docs', (_req, res) => {
    res.redirect(301, 'docs/');
  });
  router.get('/docs/', withPolicy, (_req, res) => {
    res.type('text/html').send(PAGE);
  });
  router.get('/docs/:file', withPolicy, (req, res, next) => {
    const { file } = req.params as { file: string };
    if (file === OWN_SCRIPT) {
      res.type('text/javascript').send(INITIALIZER);
    } else if (ASSETS.includes(file)) {
      // Not by date: npm gives every file of every version the same.
      const { root, version } = swaggerUi();
      res.set('ETag', `"${version}"`);
      res.sendFile(file, { root, cacheControl: false, lastModified: false }, (error) => {
        if (error as unknown) next(error);
      });
    } else {
      const message = `there is nothing at ${req.path}: the page is at /docs/`;
      throw new SharderError('unknown_route', message);
    }
  });
  return router;
}

const withPolicy: RequestHandler = (_req, res, next) => {
  res.set('Content-Security-Policy', POLICY).set('Cache-Control', CACHE);
  next();
};

function swaggerUi(): { root: string; version: string } {
  const require = createRequire(import.meta.url);
  const { version } = require('swagger-ui-dist/package.json') as { version: string };
  return { root: dirname(require.resolve('swagger-ui-dist/package.json')), version };
}
