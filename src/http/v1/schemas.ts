// The schemas that check requests, as JSON Schema 2020-12 for a document of OpenAPI 3.1.

import * as z from 'zod';

/** A piece of the document. */
export type Piece = Readonly<Record<string, unknown>>;

/** The fields of an object, and which of them must be there. */
export interface Fields {
  readonly properties: Readonly<Record<string, Piece>>;
  readonly required: readonly string[];
}

/** Converts schemas, and gathers those that have an id: a reference stands wherever they come. */
export class Schemas {
  readonly components: Record<string, Piece> = {};

  /** What may be sent. */
  fields(shape: z.ZodRawShape): Fields {
    return this.#convert(shape, 'input');
  }

  /** What is answered: fields may be added to it one day, and so are not forbidden here. */
  answer(schema: z.ZodType): Piece {
    return this.#convert({ answer: schema }, 'output').properties.answer ?? {};
  }

  #convert(shape: z.ZodRawShape, io: 'input' | 'output'): Fields {
    const converted = z.toJSONSchema(z.object(shape), {
      io,
      override: ({ jsonSchema }) => {
        if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
        // What zod adds for JavaScript's sake.
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
        if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
      },
    });
    const text = JSON.stringify(converted).replaceAll('"#/$defs/', '"#/components/schemas/');
    const { $defs = {}, properties = {}, required = [] } = JSON.parse(text) as Converted;
    Object.assign(this.components, $defs);
    return { properties, required };
  }
}

interface Converted extends Partial<Fields> {
  readonly $defs?: Readonly<Record<string, Piece>>;
}
