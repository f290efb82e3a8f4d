// The operations on plans.

import * as z from 'zod';
import { makePlan, makeUndo } from '../rebalance/make.js';
import * as steps from '../rebalance/steps.js';
import { listBuckets } from '../store/buckets.js';
import { PLAN_STATES } from '../store/plan-state.js';
import * as store from '../store/plans.js';
import { acting, DONE, reading, writing } from './operation.js';
import * as fields from './fields.js';

const id = z.int().min(1).meta({ description: "A plan's number." });
const state = z.enum(PLAN_STATES);
const goal = z.enum(['rebalance', 'drain', 'spread', 'undo']);

const worked = {
  kind: fields.kind,
  goal,
  threshold: z.number().nullable().meta({ description: 'Of a rebalance, in percent.' }),
  buckets: z.array(fields.bucket).meta({ description: 'Those to drain, or to spread onto.' }),
  undoes: z.int().nullable().meta({ description: 'The plan whose moves it takes back.' }),
  moves: z.int().meta({ description: 'How many objects it moves, each of them once.' }),
  pinned: z.int().meta({ description: 'How many stay against the goal: they are pinned.' }),
  without_room: z.int().meta({ description: 'How many stay against the goal: nobody has room.' }),
  outcomes: z
    .array(z.object({ bucket: fields.bucket, before: z.int(), after: z.int() }))
    .meta({ description: 'What each bucket held when it was planned, and will hold.' }),
};

const shown = z
  .object({
    plan: id,
    state,
    ...worked,
    made: z.int().meta({ description: 'How many moves were made.' }),
    skipped: z.int().meta({ description: 'How many were not: something had changed.' }),
    why_skipped: z
      .record(z.string(), z.int())
      .meta({ description: 'How many were skipped, by what had changed.' }),
    rate: z.int().nullable().meta({ description: 'Moves per second at most.' }),
    bucket_rate: z.int().nullable().meta({ description: 'The same for each bucket.' }),
    actor: z.string().meta({ description: 'Who has planned it.' }),
    started_by: z.string().nullable().meta({ description: 'Who has applied it.' }),
    reason: z.string().nullable(),
    created_at: z.string(),
    started_at: z.string().nullable(),
    ended_at: z.string().nullable(),
  })
  .meta({ id: 'Plan' });

type Shown = z.output<typeof shown>;

function show({ id, detail, ...plan }: store.Plan): Shown {
  return { ...plan, plan: id, why_skipped: { ...plan.why_skipped }, ...told(detail) };
}

function told(detail: store.PlanDetail) {
  const { threshold, buckets, undoes, pinned, without_room, outcomes } = detail;
  return {
    threshold: threshold ?? null,
    buckets: [...(buckets ?? [])],
    undoes: undoes ?? null,
    pinned,
    without_room,
    outcomes: outcomes.map((each) => ({ ...each })),
  };
}

const PATH = '/plans/{plan}';
const one = { plan: id };

export const listPlans = reading({
  name: 'plan list',
  method: 'GET',
  path: '/plans',
  summary: 'All plans, the newest first, in pages',
  input: {
    kind: fields.kind.optional(),
    state: state.optional().meta({ description: 'Only those in this state.' }),
    ...fields.PAGING,
  },
  output: fields.page(shown),
  example: { kind: 'hub' },
  keepsToKinds: true,
  read: async ({ database, permission }, { limit, after, ...filter }) => {
    const place = fields.fromCursor(after, 'number');
    const wanted = { ...filter, kinds: permission?.kinds };
    const plans = await database.read((knex) => store.listPlans(knex, wanted, limit, place));
    const last = plans.length < limit ? undefined : plans.at(-1);
    return { items: plans.map(show), next: last ? fields.toCursor(last.id) : null };
  },
});

export const showPlan = reading({
  name: 'plan show',
  method: 'GET',
  path: PATH,
  summary: 'One plan, how far it is, and why moves were skipped',
  input: one,
  output: shown.extend({
    left: z.int().meta({ description: 'How many objects the buckets of a drain hold now.' }),
  }),
  example: { plan: 1 },
  read: ({ database }, { plan: id }) =>
    database.read(async (knex) => {
      const plan = await store.getPlan(knex, id);
      const drained = plan.goal === 'drain' ? (plan.detail.buckets ?? []) : [];
      const buckets = await listBuckets(knex, plan.kind);
      const left = buckets.filter(({ name }) => drained.includes(name));
      return {
        ...show(plan),
        left: left.reduce((sum, { members }) => sum + members, 0),
      };
    }),
});

export const listMoves = reading({
  name: 'plan moves',
  method: 'GET',
  path: `${PATH}/moves`,
  summary: 'The moves of a plan, in their order, in pages',
  input: {
    ...one,
    state: z
      .enum(['waiting', 'made', 'skipped'])
      .optional()
      .meta({ description: 'Only those in this state.' }),
    ...fields.PAGING,
  },
  output: fields.page(
    z.object({
      seq: z.int().meta({ description: 'Its place in the plan, from 0.' }),
      name: fields.name,
      from_bucket: fields.bucket,
      to_bucket: fields.bucket,
      state: z.enum(['waiting', 'made', 'skipped']),
      why: z.string().nullable().meta({ description: 'What had changed, so that it was skipped.' }),
    }),
  ),
  example: { plan: 1, limit: 10 },
  read: ({ database }, { plan: id, state, limit, after }) =>
    database.read(async (knex) => {
      const plan = await store.getPlan(knex, id);
      const place = fields.fromCursor(after, 'number');
      const moves = await store.listMoves(knex, plan.id, state, limit, place);
      const last = moves.length < limit ? undefined : moves.at(-1);
      const items = moves.map((move) => ({ ...move }));
      return { items, next: last ? fields.toCursor(last.seq) : null };
    }),
});

const made = z.object({
  ...DONE,
  ...worked,
  plan: id.nullable().meta({ description: 'Null of a dry run, which stores none.' }),
});

export const createPlan = acting({
  name: 'plan create',
  method: 'POST',
  path: '/kinds/{kind}/plans',
  summary: 'Work out the fewest moves that reach a goal; nothing moves until it is applied',
  input: {
    kind: fields.kind,
    goal: z.enum(['rebalance', 'drain', 'spread']).meta({
      description:
        'rebalance: no bucket above its even share and the threshold; drain: these buckets empty; spread: these buckets filled to their even share.',
    }),
    threshold: z
      .number()
      .min(1)
      .max(1_000)
      .optional()
      .meta({ description: 'Of a rebalance, in percent; default: that of the kind.' }),
    buckets: z.array(fields.bucket).max(10_000).optional().meta({
      description: 'Those to drain, or to spread onto.',
    }),
  },
  output: made,
  example: { kind: 'hub', goal: 'drain', buckets: ['hub-1'], reason: 'is to be replaced' },
  act: async ({ database, onProgress }, { kind, goal, threshold, buckets }, { by, isDry }) => {
    const wanted =
      goal === 'rebalance' ? { goal, threshold } : { goal, buckets: [...new Set(buckets ?? [])] };
    const plan = await makePlan(database, kind, wanted, by, { isDry, onProgress });
    return tell(`plan ${goal}`, plan);
  },
});

function tell(
  action: string,
  plan: Pick<store.Plan, 'kind' | 'goal' | 'detail' | 'moves'> & Partial<store.Plan>,
) {
  const { kind, goal, detail, moves, id = null } = plan;
  const worked = { kind, goal, moves, ...told(detail) };
  return { action, changed: true, plan: id, ...worked, ...notesOf(plan) };
}

function notesOf({ moves, detail }: Pick<store.Plan, 'moves' | 'detail'>) {
  const { pinned, without_room: without } = detail;
  const notes = [
    ...(moves === 0 && pinned + without === 0 ? ['there is nothing to move'] : []),
    ...(pinned > 0 ? [`${pinned} stay, for they are pinned: unpin them, or move them`] : []),
    ...(without > 0
      ? [`${without} stay, for no bucket has room: add one, or raise a capacity`]
      : []),
  ];
  return notes.length > 0 ? { notes } : {};
}

const rate = fields.whole(1, 1_000_000);
const rates = {
  rate: rate.optional().meta({ description: 'Moves per second at most; default: 100.' }),
  bucket_rate: rate.nullable().optional().meta({
    description: 'The same for each bucket, from it and to it; null: no limit of its own.',
  }),
};

const done = z.object({ ...DONE, ...shown.shape });

function stepped(action: string, plan: store.Plan, changed = true) {
  return { ...show(plan), action, changed };
}

export const applyPlan = writing({
  name: 'plan apply',
  method: 'POST',
  path: `${PATH}/apply`,
  summary: 'Have a running service make the moves of a plan, at a pace',
  input: { ...one, ...rates },
  output: done,
  example: { plan: 1, rate: 50 },
  write: async (trx, { plan, rate = steps.DEFAULT_RATE, bucket_rate = null }, by) =>
    stepped('plan apply', await steps.startPlan(trx, plan, { rate, bucketRate: bucket_rate }, by)),
});

function stopping(verb: 'pause' | 'cancel', summary: string, stop: typeof steps.pausePlan) {
  const name = `plan ${verb}`;
  return writing({
    name,
    method: 'POST',
    path: `${PATH}/${verb}`,
    summary,
    input: one,
    output: done,
    example: { plan: 1 },
    write: async (trx, { plan }, by) => stepped(name, await stop(trx, plan, by)),
  });
}

export const pausePlan = stopping(
  'pause',
  'Make no more moves for now; what was moved stays',
  steps.pausePlan,
);

export const resumePlan = writing({
  name: 'plan resume',
  method: 'POST',
  path: `${PATH}/resume`,
  summary: 'Go on with a plan that was paused; or at another pace with one that runs',
  input: { ...one, ...rates },
  output: done,
  example: { plan: 1, rate: 100 },
  write: async (trx, { plan, rate, bucket_rate }, by) => {
    const now = await steps.resumePlan(trx, plan, { rate, bucketRate: bucket_rate }, by);
    return stepped('plan resume', now.plan, now.changed);
  },
});

export const cancelPlan = stopping(
  'cancel',
  'Make no more moves of a plan for good; what was moved stays, and can be undone',
  steps.cancelPlan,
);

export const undoPlan = acting({
  name: 'plan undo',
  method: 'POST',
  path: `${PATH}/undo`,
  summary: 'Move back what is still where a plan has put it: by a plan of its own, at once',
  input: { ...one, ...rates },
  output: made,
  example: { plan: 1, reason: 'was a mistake' },
  act: async ({ database, onProgress }, { plan: id, rate, bucket_rate }, { by, isDry }) => {
    const undone = await database.read((knex) => store.getPlan(knex, id));
    const undo = await makeUndo(database, id, by, { isDry, onProgress });
    if ('id' in undo) {
      const rates = {
        rate: rate ?? undone.rate ?? steps.DEFAULT_RATE,
        bucketRate: bucket_rate === undefined ? undone.bucket_rate : bucket_rate,
      };
      await database.write((trx) => steps.startPlan(trx, undo.id, rates, by));
    }
    return tell('plan undo', undo);
  },
});
