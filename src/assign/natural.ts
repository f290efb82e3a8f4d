// The natural order of names: server-2 comes before server-10.

/**
 * Compares two names, for `sort`: digits in a row as the number that they are, everything else by code
 * unit. Names that differ in leading zeros alone go by code unit too, so that no two are equal. The same
 * in every language and place.
 */
export function compareNatural(a: string, b: string): number {
  const left = partsOf(a);
  const right = partsOf(b);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = compareParts(left[i] ?? '', right[i] ?? '');
    if (difference !== 0) return difference;
  }
  return left.length - right.length || compareUnits(a, b);
}

// What is no number and what is one in turn, beginning with what is none.
function partsOf(name: string): string[] {
  return name.split(/([0-9]+)/);
}

// Parts at the same place are both numbers or neither.
function compareParts(a: string, b: string): number {
  if (!/^[0-9]/.test(a)) return compareUnits(a, b);
  const left = a.replace(/^0+/, '');
  const right = b.replace(/^0+/, '');
  return left.length - right.length || compareUnits(left, right);
}

function compareUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
