// The page at /docs/, and the script that starts it. Neither has anything inline: the page's policy
// forbids that.

/** What the page needs of swagger-ui-dist. */
export const ASSETS: readonly string[] = [
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'favicon-32x32.png',
];
export const OWN_SCRIPT = 'initializer.js';

export const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Sharder: the API</title>
    <link rel="icon" type="image/png" href="favicon-32x32.png">
    <link rel="stylesheet" href="swagger-ui.css">
  </head>
  <body>
    <div id="page"></div>
    <script src="swagger-ui-bundle.js"></script>
    <script src="${OWN_SCRIPT}"></script>
  </body>
</html>
`;

/**
 * Swagger UI has either a text area or a file chooser for a body. Ours that are text have both: a file
 * is sent as it is, without a look into it.
 */
export const INITIALIZER = `'use strict';

const isText = (type) => type === 'text/csv' || type === 'application/x-ndjson';

function fileOrText() {
  return {
    wrapComponents: {
      RequestBody: (Original, { React }) => (props) => {
        const h = React.createElement;
        const { contentType, isExecute, onChange, requestBodyValue: value } = props;
        const file = value instanceof File ? value : undefined;
        if (!isExecute || !isText(contentType)) return h(Original, props);
        const choose = h('input', {
          type: 'file',
          'aria-label': 'file to send',
          onChange: ({ target }) => onChange(target.files[0] ?? ''),
        });
        return h(
          'div',
          null,
          file === undefined && h(Original, props),
          h('label', null, file === undefined ? 'or a file: ' : 'this file is sent: ', choose),
        );
      },
    },
  };
}

SwaggerUIBundle({
  url: '../openapi.json',
  dom_id: '#page',
  plugins: [fileOrText],
  layout: 'BaseLayout',
  validatorUrl: null,
  tryItOutEnabled: true,
  persistAuthorization: false,
  docExpansion: 'list',
  deepLinking: true,
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  syntaxHighlight: false,
});
`;
