// A binary heap (J. W. J. Williams, 1964) in an array: the root goes before all others.

/** Whether one goes before the other; a total order, or the heap's is not determined. */
export type Before<T> = (a: T, b: T) => boolean;

/** Makes a heap of an array, in place; O(n). */
export function heapify<T>(items: T[], isBefore: Before<T>): void {
  for (let i = (items.length >> 1) - 1; i >= 0; i--) siftDown(items, isBefore, i);
}

/** Takes the root out; O(log n). */
export function removeRoot<T>(heap: T[], isBefore: Before<T>): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  heap[0] = last;
  siftDown(heap, isBefore);
}

/** Moves an item down to where it belongs, after it has changed; O(log n). */
export function siftDown<T>(heap: T[], isBefore: Before<T>, index = 0): void {
  const item = heap[index];
  if (item === undefined) return;
  for (;;) {
    const left = heap[2 * index + 1];
    if (left === undefined) break;
    const right = heap[2 * index + 2];
    const child = right !== undefined && isBefore(right, left) ? right : left;
    if (!isBefore(child, item)) break;
    heap[index] = child;
    index = child === left ? 2 * index + 1 : 2 * index + 2;
  }
  heap[index] = item;
}
