/** How the values of a chart become places along an axis, and which of them are written beside it. */

/** One axis of a chart. */
export interface Axis {
  /** Ascending. */
  readonly ticks: readonly number[];
  /** Where a value lies: 0 at the low end, 1 at the high end. */
  place(value: number): number;
}

/** `log`: ten times as much is always as far away. `linear`: from zero. */
export type Scale = 'log' | 'linear';

const MOST_TICKS = 7;
/** The figures of round numbers. */
const ROUND = [1, 2, 5];

/** The axis of what was measured: it begins and ends at a round number. Throws RangeError for no values, for one that is not finite, and below what the scale can show. */
export function measuredAxis(values: readonly number[], scale: Scale): Axis {
  check(values, scale);
  return scale === 'log' ? logAxis(values) : linearAxis(Math.max(...values));
}

/** The axis of what was asked for: its ticks are the values themselves. Throws like `measuredAxis`. */
export function chosenAxis(values: readonly number[], scale: Scale): Axis {
  check(values, scale);
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const onScale = scale === 'log' ? Math.log : (value: number) => value;
  const [low, high] = [onScale(ticks[0] ?? 0), onScale(ticks.at(-1) ?? 0)];
  return { ticks, place: (value) => (high === low ? 0.5 : (onScale(value) - low) / (high - low)) };
}

/** A tick as it is written: `0.5`, `1,000`, `20k`, `3M`. */
export function tickText(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return value >= 1000 ? value.toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

function check(values: readonly number[], scale: Scale): void {
  if (values.length === 0) throw new RangeError('a chart without values has no axis');
  const lowest = scale === 'log' ? Number.MIN_VALUE : 0;
  const stranger = values.find((value) => !(value >= lowest && value < Number.POSITIVE_INFINITY));
  if (stranger !== undefined) throw new RangeError(`${stranger} has no place on a ${scale} axis`);
}

function linearAxis(highest: number): Axis {
  const top = highest === 0 ? 1 : highest;
  const step = roundAtLeast(top / (MOST_TICKS - 1));
  const count = Math.ceil(top / step - 1e-9);
  return { ticks: Array.from({ length: count + 1 }, (_, index) => cleaned(index * step)), place: (value) => value / (count * step) };
}

function logAxis(values: readonly number[]): Axis {
  const low = roundAtMost(Math.min(...values));
  const high = Math.max(roundAtLeast(Math.max(...values)), roundAtLeast(low * 1.5));
  const within = (ticks: readonly number[]) => ticks.filter((tick) => tick >= low && tick <= high);
  const powers = Array.from({ length: Math.ceil(Math.log10(high / low)) + 2 }, (_, index) => Math.floor(Math.log10(low)) + index);
  const rounds = within(powers.flatMap((power) => ROUND.map((figure) => cleaned(figure * 10 ** power))));
  const decades = within(powers.map((power) => cleaned(10 ** power)));
  const ticks = rounds.length <= MOST_TICKS ? rounds : decades;
  const every = Math.ceil(ticks.length / MOST_TICKS);
  const span = Math.log(high / low);
  return { ticks: ticks.filter((_, index) => index % every === 0), place: (value) => Math.log(value / low) / span };
}

/** The smallest of …, 0.5, 1, 2, 5, 10, … that is not below the value. */
function roundAtLeast(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const figure = [...ROUND, 10].find((one) => cleaned(one * power) >= cleaned(value)) ?? 10;
  return cleaned(figure * power);
}

/** The largest of …, 0.5, 1, 2, 5, 10, … that is not above the value. */
function roundAtMost(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const figure = ROUND.findLast((one) => cleaned(one * power) <= cleaned(value)) ?? 1;
  return cleaned(figure * power);
}

/** Without what binary fractions add in the last places. */
function cleaned(value: number): number {
  return Number(value.toPrecision(12));
}
