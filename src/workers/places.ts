// Each worker's place: an index out of a count. A pure function; no clock, no database.

/** A worker that has a place, or is to have one. */
export interface Placed {
  readonly bucket: string;
  /** From 0; null: it has none yet. */
  readonly place: number | null;
}

/**
 * The places of all who are to have one, 0 … n − 1, given in the order in which they came: each has
 * another, and as few as can be change. Whoever has one below n keeps it. The places of those that left
 * go first to those that must move, the last to the first free; then to those that have none.
 */
export function givePlaces(workers: readonly Placed[]): Map<string, number> {
  const count = workers.length;
  const places = new Map<string, number>();
  const taken = new Set<number>();
  for (const { bucket, place } of workers) {
    if (place === null || place >= count || taken.has(place)) continue;
    places.set(bucket, place);
    taken.add(place);
  }
  const free = Array.from({ length: count }, (_, place) => place).filter(
    (place) => !taken.has(place),
  );
  const rest = workers.filter(({ bucket }) => !places.has(bucket));
  const moving = rest
    .filter(({ place }) => place !== null)
    .sort((a, b) => (b.place ?? 0) - (a.place ?? 0));
  const coming = rest.filter(({ place }) => place === null);
  [...moving, ...coming].forEach(({ bucket }, i) => places.set(bucket, free[i] ?? i));
  return places;
}
