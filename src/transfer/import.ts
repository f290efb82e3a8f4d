// Imports pages of lines: checks all of them first, beside the tables, then writes them in one
// transaction. What a line says is taken as a fact, so that a bucket's state and capacity, which tell
// where new objects go, are in no line's way.

import { SharderError } from '../errors.js';
import { isOpen, listBuckets, insertBucket, type Bucket } from '../store/buckets.js';
import { recordChange, type By } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { addKind, listKindRows, lockKind } from '../store/kinds.js';
import { refuseFollowers } from '../store/specs.js';
import { Staging, type Arrivals, type Elsewhere } from '../store/staging.js';
import { Checker, type NewBucket, type NewKind } from './checker.js';
import type { Pages, Problem } from './page.js';

/** So many problems are kept to be shown; all are counted. */
const SHOWN = 1_000;

export interface ImportOptions {
  /** The kind of a line that names none. */
  readonly kind: string;
  /** What is imported, for the history. */
  readonly file: string;
  /** Whether kinds and buckets are made that are not there. */
  readonly createBuckets: boolean;
  /** Whether objects that are elsewhere are moved. */
  readonly move: boolean;
  /** Whether what is right is imported when something is wrong. */
  readonly skipErrors: boolean;
  readonly dryRun: boolean;
  readonly by: By;
  /** Told of the rows read so far. */
  readonly onRows: (count: number) => void;
  /** Told when all are read, before the long statements, which wait for it. */
  readonly onRead: () => void | Promise<void>;
  /** Told just before the transaction begins, which waits for it. */
  readonly onWrite: () => void | Promise<void>;
}

/** What an import has done, or would do. */
export interface Imported {
  readonly added: number;
  readonly moved: number;
  /** Lines that say what is so already, or stand there twice. */
  readonly unchanged: number;
  /** Lines that are wrong. */
  readonly wrong: number;
  /** The first of them, by line. */
  readonly problems: readonly Problem[];
  readonly kinds: readonly NewKind[];
  readonly buckets: readonly NewBucket[];
  /** What the person should know beside. */
  readonly notes: readonly string[];
}

/** Thrown to roll back, for what turned out to be wrong under the lock. */
class Refused extends Error {
  readonly late: readonly Elsewhere[];

  constructor(late: readonly Elsewhere[]) {
    super('refused');
    this.name = 'Refused'; // a plain `Error` would be taken for one of the driver's
    this.late = late;
  }
}

/**
 * Imports `pages` into a database that was opened for bulk. Where `wrong` is not 0 in what it resolves
 * with, nothing was changed, unless `skipErrors` said otherwise.
 */
export async function importPages(
  database: Database,
  pages: Pages,
  options: ImportOptions,
): Promise<Imported> {
  const { skipErrors, move, dryRun } = options;
  const before = await database.read((knex) => listBuckets(knex));
  const kinds = await database.read(listKindRows);
  const checker = new Checker(kinds, before, options);
  const staging = await Staging.create(database);
  const problems: Problem[] = [];
  let wrong = 0;
  const note = (found: readonly Problem[], count = found.length): void => {
    wrong += count;
    problems.push(...found.slice(0, SHOWN - problems.length));
  };

  let rows = 0;
  for await (const page of pages) {
    const checked = checker.check(page);
    note(checked.problems);
    await staging.add(checked.rows);
    options.onRows((rows += page.rows));
  }
  await options.onRead();

  await staging.sort();
  const contradictions = await staging.takeContradictions(SHOWN);
  note(
    contradictions.rows.map(({ line, name, bucket, other_line }) => ({
      line,
      code: 'contradiction',
      message: `${name} is in ${bucket} here, and in another bucket in line ${other_line}`,
    })),
    contradictions.count,
  );
  const repeated = await staging.takeRepeated();
  const compared = await staging.compare();
  if (compared.elsewhere > 0 && !move) {
    note((await staging.takeElsewhere(SHOWN)).map(explainElsewhere), compared.elsewhere);
  }
  const refused = await staging.takeRefused(SHOWN);
  note(
    refused.rows.map(({ line, kind, name }) => ({
      line,
      code: 'bad_name',
      message: checker.refusedName(kind, name)?.message ?? '',
    })),
    refused.count,
  );
  const plan: Imported = {
    added: compared.fresh - refused.count,
    moved: move ? compared.elsewhere : 0,
    unchanged: compared.unchanged + repeated,
    wrong,
    problems: problems.sort((a, b) => a.line - b.line),
    kinds: checker.newKinds,
    buckets: checker.newBuckets,
    notes: [],
  };
  if (wrong > 0 && !skipErrors) return plan;

  const arrivals = await staging.arrivals(move);
  const noted = { ...plan, notes: closedNotes(before, arrivals) };
  const isDone = plan.added + plan.moved + plan.kinds.length + plan.buckets.length === 0;
  if (dryRun || isDone) return noted;
  await options.onWrite();
  try {
    return await write(database, checker, staging, arrivals, noted, options);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return withLate(plan, error.late);
  }
}

// The one transaction. Others may have assigned some of the objects since they were compared.
function write(
  database: Database,
  checker: Checker,
  staging: Staging,
  arrivals: readonly Arrivals[],
  plan: Imported,
  { by, file, move, skipErrors }: ImportOptions,
): Promise<Imported> {
  const kinds = new Set([...arrivals, ...plan.kinds, ...plan.buckets].map(({ kind }) => kind));
  return database.write(async (trx) => {
    for (const { kind, policy, settings } of plan.kinds) await addKind(trx, kind, policy, settings);
    for (const kind of [...kinds].sort()) {
      const { settings } = await lockKind(trx, kind);
      if (settings.normalize !== checker.normalizerOf(kind)) throw changedMeanwhile(kind);
      if (move) await refuseFollowers(trx, kind);
    }
    for (const { kind, name, state, state_reason, ...settings } of plan.buckets) {
      await insertBucket(trx, kind, name, settings, by);
      await trx('bucket').where({ kind, name }).update({ state, state_reason });
    }
    await refuseRemoved(trx, arrivals);

    const added = await staging.insertFresh(trx, plan.added);
    const isLate = added < plan.added && !move;
    const late = isLate ? await staging.listElsewhere(trx) : [];
    if (late.length > 0 && !skipErrors) throw new Refused(late);
    const moved = move ? await staging.moveElsewhere(trx, by) : 0;
    for (const kind of kinds) {
      const coming = arrivals.filter((each) => each.kind === kind);
      const objects = coming.reduce((sum, { count }) => sum + count, 0);
      await recordChange(trx, { ...by, action: 'import', kind, detail: { file, objects } });
    }
    const unchanged = plan.unchanged + plan.added + plan.moved - added - moved - late.length;
    return { ...withLate(plan, late), added, moved, unchanged };
  });
}

function withLate(plan: Imported, late: readonly Elsewhere[]): Imported {
  return {
    ...plan,
    wrong: plan.wrong + late.length,
    problems: [...plan.problems, ...late.map(explainElsewhere)],
  };
}

function explainElsewhere({ line, name, bucket, from_bucket }: Elsewhere): Problem {
  const message = `${name} is in ${from_bucket} already, not in ${bucket}`;
  return { line, code: 'elsewhere', message };
}

async function refuseRemoved(
  trx: Parameters<typeof listBuckets>[0],
  arrivals: readonly Arrivals[],
): Promise<void> {
  const there = new Set((await listBuckets(trx)).map(({ kind, name }) => `${kind}/${name}`));
  const gone = arrivals.find(({ kind, bucket }) => !there.has(`${kind}/${bucket}`));
  if (!gone) return;
  throw new SharderError(
    'unknown_bucket',
    `bucket ${gone.bucket} of kind ${gone.kind} was removed meanwhile: nothing was imported`,
  );
}

function changedMeanwhile(kind: string): SharderError {
  return new SharderError(
    'bad_request',
    `normalize of kind ${kind} was changed meanwhile: nothing was imported; import it again`,
  );
}

// A line is a fact, but a person wants to know what it makes of a bucket.
function closedNotes(before: readonly Bucket[], arrivals: readonly Arrivals[]): string[] {
  return arrivals.flatMap(({ kind, bucket: name, count }) => {
    const bucket = before.find((each) => each.kind === kind && each.name === name);
    if (!bucket) return [];
    const members = bucket.members + count;
    const where = `bucket ${name} of kind ${kind}`;
    if (bucket.state !== 'active')
      return [`${where} is ${bucket.state}: it takes the ${count} all the same`];
    if (isOpen({ ...bucket, members: members - 1 })) return [];
    return [`${where} has room for ${bucket.capacity ?? 0}, and comes to hold ${members}`];
  });
}
