// What a worker has, and what it has to do about what it is told. Pure; no clock, no network.

/** An object as a worker is told of it. */
export interface Told {
  readonly name: string;
  readonly spec: unknown;
  readonly state: 'waiting' | 'adding' | 'owned' | 'dropping';
  readonly epoch: number | null;
}

/** One that is its. */
export type Mine = Told & { readonly epoch: number };

/**
 * What a worker does about an object that it has with the epoch `held`, or has not: first it drops it, then
 * it adds what is told. `told` is undefined where it is not the worker's any more.
 */
export function stepsFor(
  held: number | undefined,
  told: Told | undefined,
): { readonly drop: boolean; readonly add: Mine | undefined } {
  const isMine = told?.state === 'adding' || told?.state === 'owned';
  const mine = isMine && told.epoch !== null ? { ...told, epoch: told.epoch } : undefined;
  const isSame = held !== undefined && held === mine?.epoch;
  return { drop: held !== undefined && !isSame, add: isSame ? undefined : mine };
}
