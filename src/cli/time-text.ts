const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in its two largest units: `"4 min 10 s"`. */
export function durationText(milliseconds: number): string {
  const left = Math.max(0, Math.ceil(milliseconds / SECOND) * SECOND);
  const units = [
    [DAY, "d"],
    [HOUR, "h"],
    [MINUTE, "min"],
    [SECOND, "s"],
  ] as const;
  const first = units.findIndex(([size]) => left >= size);
  if (first === -1) return "0 s";
  let rest = left;
  const parts: string[] = [];
  for (const [size, name] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
  }
  return parts.join(" ");
}

/** An instant by the clock of this machine: the time alone when it is today. */
export function instantText(instant: number, now: number = Date.now()): string {
  const date = new Date(instant);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  const isToday = new Date(now).toDateString() === date.toDateString();
  return isToday ? time : `${dayText(date)} ${time.slice(0, 5)}`;
}

/** A day and a time of day, or `"never"`. */
export function dateText(instant: number | null): string {
  if (instant === null) return "never";
  const date = new Date(instant);
  return `${dayText(date)} ${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`;
}

function dayText(date: Date): string {
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`;
}

function twoDigits(count: number): string {
  return `${count}`.padStart(2, "0");
}
