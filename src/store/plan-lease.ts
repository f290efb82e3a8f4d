// Who makes the moves of a plan. One at a time holds it, for some seconds, and renews that with every
// batch; when it does not, another may go on.

import type { Knex } from 'knex';
import { PLAN_COLUMNS, toPlan, type Plan, type StoredPlan } from './plans.js';
import { engineOf, queryRows } from './rows.js';

/** Who applies a plan at the moment, and for how long nobody else may unless it comes again. */
export interface Runner {
  readonly id: string;
  readonly seconds: number;
}

// By the database's clock, for runners are on several machines.
const UNTIL = {
  sqlite: `strftime('%Y-%m-%dT%H:%M:%fZ', 'now', cast(? as integer) || ' seconds')`,
  postgres: 'now() + make_interval(secs => ?)',
} as const;
const NOW = { sqlite: `strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`, postgres: 'now()' } as const;

/** The plan, if it is running and no other holds it: it is this runner's, from now on. */
export async function takePlan(
  trx: Knex.Transaction,
  id: number,
  runner: Runner,
): Promise<Plan | undefined> {
  const engine = engineOf(trx);
  const [taken] = await queryRows<StoredPlan>(
    trx,
    `update plan set runner = ?, runner_until = ${UNTIL[engine]}
      where id = ? and state = 'running'
        and (runner is null or runner = ? or runner_until < ${NOW[engine]})
      returning ${PLAN_COLUMNS.join(', ')}`,
    [runner.id, runner.seconds, id, runner.id],
  );
  return taken && toPlan(taken);
}

/** Lets another runner go on at once. */
export async function releasePlan(
  trx: Knex.Transaction,
  id: number,
  runner: string,
): Promise<void> {
  await trx('plan').where({ id, runner }).update({ runner: null, runner_until: null });
}

/** The plans that are running, but that nobody runs, unless it is `runner`: it has given up, or has begun anew. */
export async function abandonedPlans(knex: Knex, runner = ''): Promise<Plan[]> {
  const rows: StoredPlan[] = await knex('plan')
    .where({ state: 'running' })
    .whereIn('kind', knex('kind').select('name')) // those of a kind that is gone wait for it
    .whereRaw(`(runner is null or runner = ? or runner_until < ${NOW[engineOf(knex)]})`, [runner])
    .orderBy('id')
    .select(...PLAN_COLUMNS);
  return rows.map(toPlan);
}
