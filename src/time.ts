// Times as people and files give them. One strict parser, because history is deleted by them for good.

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d(?::?\d\d)?))?$/;

/**
 * A time as RFC 3339 has it, with its zone; or a date, which is midnight UTC. A space for the `T`, a time
 * without seconds and a zone of hours alone are taken too, as PostgreSQL writes them. Undefined for any
 * other text, a date that does not exist, and a year that is not 1 to 9999 in UTC. Precise to the
 * millisecond.
 */
export function parseTime(text: string): Date | undefined {
  const [, ...parts] = TIME.exec(text) ?? [];
  if (parts.length === 0) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(0, 6)
    .map((part) => Number((part as string | undefined) ?? 0));
  const [, , , , , , fraction = '', zone = 'Z'] = parts as (string | undefined)[];
  const [, sign = '+', hours = '0', minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? [];
  const offset = (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
  const isClock = hour < 24 && minute < 60 && second < 60 && Number(hours) < 24;
  if (!isClock || Number(minutes) > 59) return undefined;
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  if (local.getUTCMonth() !== month - 1 || local.getUTCDate() !== day) return undefined;
  local.setUTCHours(hour, minute - offset, second, Number(fraction.padEnd(3, '0').slice(0, 3)));
  const utcYear = local.getUTCFullYear();
  return utcYear >= 1 && utcYear <= 9999 ? local : undefined;
}
