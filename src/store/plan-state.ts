// The states of a plan, and what can be done in each.

import { SharderError } from '../errors.js';

/**
 * planning → planned → running ⇄ paused → done; cancelled from any of them but the last. One that stays
 * `planning` was broken off.
 */
export const PLAN_STATES = [
  'planning',
  'planned',
  'running',
  'paused',
  'cancelled',
  'done',
] as const;

export type PlanState = (typeof PLAN_STATES)[number];

/** Throws `plan_state`, and says what can be done, unless the plan has one of these states. */
export function checkState(
  { id, state }: { readonly id: number; readonly state: PlanState },
  verb: string,
  states: readonly PlanState[],
): void {
  if (states.includes(state)) return;
  throw new SharderError(
    'plan_state',
    `plan ${id} is ${state}, and cannot be ${verb}: ${NEXT[state](id)}`,
  );
}

const NEXT: Readonly<Record<PlanState, (id: number) => string>> = {
  planning: (id) =>
    `its moves are still being written; if it stays so, cancel it (\`sharder plan cancel ${id}\`), and plan again`,
  planned: (id) => `apply it (\`sharder plan apply ${id}\`), or cancel it`,
  running: (id) => `pause it (\`sharder plan pause ${id}\`), or cancel it`,
  paused: (id) => `resume it (\`sharder plan resume ${id}\`), or cancel it`,
  cancelled: (id) => `plan again; what it has moved can be undone (\`sharder plan undo ${id}\`)`,
  done: (id) => `it can be undone (\`sharder plan undo ${id}\`)`,
};
