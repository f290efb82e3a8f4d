// What a running service says of itself in /openapi.json, as a client reads it: the requests of its
// examples, and whether an answer is what was described.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: JsonSchema;
  readonly example?: unknown;
}

interface Media {
  readonly schema?: JsonSchema;
  readonly example?: unknown;
}

interface Answered {
  readonly description: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, Media>>;
}

interface Described {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly (Parameter | { readonly $ref: string })[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, Media>>;
  };
  readonly responses: Readonly<Record<string, Answered | { readonly $ref: string }>>;
  readonly security?: readonly object[];
}

export interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

/** What is sent. */
export interface Sending {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly type?: string;
}

export class Operation {
  readonly id: string;
  readonly described: Described;
  readonly parameters: readonly Parameter[];

  constructor(
    readonly document: Document,
    readonly method: string,
    readonly path: string,
    described: Described,
  ) {
    this.id = described.operationId;
    this.described = described;
    this.parameters = (described.parameters ?? []).map(
      (each) => document.resolve(each) as Parameter,
    );
  }

  get isApi(): boolean {
    return this.path.startsWith('/v1/');
  }

  /** The fields of a JSON body. */
  get bodySchema(): JsonSchema | undefined {
    return this.described.requestBody?.content['application/json']?.schema;
  }

  /** Its example; as many as it takes to send every type of body, and every value of an enum. */
  examples(): Sending[] {
    let all: Sending[] = [{ fields: {} }];
    for (const { name, required, schema, example, in: where } of this.parameters) {
      if (where === 'header' && !required) continue;
      const [value = example] = schema.examples ?? [];
      const values = schema.enum ?? (value === undefined ? [] : [value]);
      if (values.length === 0) continue;
      all = values.flatMap((each) =>
        all.map(({ fields }) => ({ fields: { ...fields, [name]: each } })),
      );
    }
    const bodies = Object.entries(this.described.requestBody?.content ?? {});
    if (bodies.length === 0) return all;
    return bodies.flatMap(([type, { example: body }]) =>
      all.map(({ fields }) => ({ fields, body, type })),
    );
  }

  /** Its first example. */
  get example(): Sending {
    const [first] = this.examples();
    if (!first) throw new Error(`${this.id} has no example`);
    return first;
  }

  request({ fields, body, type = 'application/json' }: Sending): [path: string, init: RequestInit] {
    let path = this.path;
    const query = new URLSearchParams();
    const headers = new Headers();
    const wheres = new Map(this.parameters.map((each) => [each.name, each.in]));
    for (const [name, value] of Object.entries(fields)) {
      const where = wheres.get(name) ?? 'query';
      const text = String(value);
      if (where === 'path') path = path.replace(`{${name}}`, encodeURIComponent(text));
      else if (where === 'header') headers.set(name, text);
      else query.set(name, text);
    }
    const text = query.size > 0 ? `${path}?${query.toString()}` : path;
    if (body === undefined) return [text, { method: this.method, headers }];
    headers.set('Content-Type', type);
    const sent = typeof body === 'string' ? body : JSON.stringify(body);
    return [text, { method: this.method, headers, body: sent }];
  }

  /** What is wrong with an answer by its description; nothing, if it is as described. */
  faults(status: number, headers: Headers, body: string): string[] {
    const described = this.described.responses[status];
    if (!described) return [`status ${status} is not described`];
    const { content, headers: named = {} } = this.document.resolve(described) as Answered;
    const faults = Object.keys(named)
      .filter((name) => ['X-Request-Id', 'ETag', 'X-Shard-Bucket'].includes(name))
      .filter((name) => !headers.has(name))
      .map((name) => `no header ${name}`);
    const type = headers.get('Content-Type')?.replace(/;.*/, '');
    if (content === undefined) return faults;
    if (type === undefined || !content[type]) return [...faults, `type ${type} is not described`];
    if (type !== 'application/json') return faults;
    const { $ref } = described as { $ref?: string };
    const at =
      $ref ?? `#/paths/${escape(this.path)}/${this.method.toLowerCase()}/responses/${status}`;
    const validate = this.document.validator(`${at}/content/${escape(type)}/schema`);
    if (!validate(JSON.parse(body))) faults.push(this.document.explain(validate));
    return faults;
  }

  /** The codes of an error, by status. */
  codes(status: number): string[] {
    const described = this.described.responses[status];
    if (!described) return [];
    const { description } = this.document.resolve(described) as Answered;
    return [...description.matchAll(/`(\w+)`/g)].map(([, code = '']) => code);
  }
}

export class Document {
  readonly openapi: OpenApi;
  readonly operations: readonly Operation[];
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });

  constructor(openapi: OpenApi) {
    this.openapi = openapi;
    // A field that an answer has and the description has not is not forbidden, but forgotten.
    this.#ajv.addSchema(closed(openapi) as object, 'document');
    this.operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, described]) => new Operation(this, method.toUpperCase(), path, described),
      ),
    );
  }

  static async of(url: string): Promise<Document> {
    const response = await fetch(`${url}/openapi.json`);
    if (response.status !== 200) throw new Error(await response.text());
    return new Document((await response.json()) as OpenApi);
  }

  operation(id: string): Operation {
    const found = this.operations.find((each) => each.id === id);
    if (!found) throw new Error(`no operation ${id}`);
    return found;
  }

  resolve(piece: object): unknown {
    if (!('$ref' in piece)) return piece;
    const keys = String(piece.$ref).split('/').slice(1);
    let found: unknown = this.openapi;
    for (const key of keys) found = (found as Record<string, unknown>)[key];
    return found;
  }

  /** Of the schema at this place. Throws where it is none. */
  validator(at: string): ValidateFunction {
    return this.#ajv.compile({ $ref: `document${at}` });
  }

  allows(schema: JsonSchema, value: unknown): boolean {
    return this.#ajv.validate(schema, value);
  }

  /** What keeps each of its schemas from being one of JSON Schema 2020-12. */
  schemaFaults(): string[] {
    const schemas: unknown[] = Object.values(this.openapi.components.schemas);
    const search = (piece: unknown): void => {
      if (typeof piece !== 'object' || piece === null) return;
      if ('schema' in piece) schemas.push(piece.schema);
      Object.values(piece).forEach(search);
    };
    search(this.openapi);
    return schemas
      .filter((schema) => this.#ajv.validateSchema(schema as object) !== true)
      .map((schema) => `${JSON.stringify(schema)}: ${this.#ajv.errorsText()}`);
  }

  explain({ errors }: ValidateFunction): string {
    return this.#ajv.errorsText(errors);
  }
}

/** A key in a JSON pointer that is part of a URL. */
export function escape(key: string): string {
  return encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'));
}

function closed(piece: unknown): unknown {
  if (Array.isArray(piece)) return piece.map(closed);
  if (typeof piece !== 'object' || piece === null) return piece;
  const entries = Object.entries(piece).map(([key, value]) => [key, closed(value)] as const);
  const copy: Record<string, unknown> = Object.fromEntries(entries);
  const isOpen =
    copy.type === 'object' && 'properties' in copy && !('additionalProperties' in copy);
  return isOpen ? { ...copy, additionalProperties: false } : copy;
}
