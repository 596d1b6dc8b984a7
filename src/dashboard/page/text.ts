/** Characters that are not seen, or change the order of those around them; but for the one that joins emoji. */
const INVISIBLE = /(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A text of the user's with what cannot be seen in it made visible. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x20
      ? String.fromCodePoint(0x2400 + code)
      : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** A duration in its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, "min", seconds % 60, "s");
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** A duration in whole days, or in hours below two of them. */
export function days(ms: number): string {
  return ms < 2 * 86_400_000
    ? duration(Math.floor(Math.max(0, ms) / 3_600_000) * 3_600_000)
    : `${Math.floor(ms / 86_400_000)} d`;
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** How long ago something was. */
export function ago(ms: number): string {
  return ms < 1_500 ? "just now" : `${duration(Math.floor(ms / 1_000) * 1_000)} ago`;
}

const COUNT = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function count(value: number): string {
  return COUNT.format(value);
}

/** `"1 session"`, `"2 sessions"`. */
export function counted(value: number, one: string, several = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : several}`;
}

export function clockTime(at: number): string {
  return CLOCK.format(at);
}

export function dateTime(at: number): string {
  return DATE.format(at);
}

/** The last part of a method's name is what tells it from the others: `"contacts.ResolveUsername"`. */
export function shortMethod(method: string): string {
  return visible(method.slice(method.indexOf(".") + 1));
}
