/**
 * Doubles as RapidJSON 1.1 prints them. Its Grisu2 (Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", 2010) gives
 * short digits that read back as the same double but are not always the closest, so error texts need the same arithmetic. Exact integers are
 * fast enough here.
 */

interface DiyFp {
  readonly f: bigint;
  readonly e: number;
}

const ONE64 = 1n << 64n;
const HIDDEN_BIT = 1n << 52n;

/** A positive finite double: shortest-style digits, `.0` after whole numbers, `1e30` for what is large or small. */
export function rapidJsonDouble(value: number): string {
  const { digits, exponent } = grisu2(value);
  const point = digits.length + exponent;
  if (exponent >= 0 && point <= 21) return `${digits}${'0'.repeat(exponent)}.0`;
  if (point > 0 && point <= 21) return `${digits.slice(0, point)}.${digits.slice(point)}`;
  if (point > -6 && point <= 0) return `0.${'0'.repeat(-point)}${digits}`;
  return `${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${point - 1}`;
}

/** `digits` times ten to `exponent`. */
function grisu2(value: number): { readonly digits: string; readonly exponent: number } {
  const bits = new BigUint64Array(Float64Array.of(value).buffer)[0] ?? 0n;
  const biased = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & (HIDDEN_BIT - 1n);
  const v: DiyFp = biased === 0 ? { f: fraction, e: -1074 } : { f: fraction | HIDDEN_BIT, e: biased - 1075 };
  const upper = normalized({ f: 2n * v.f + 1n, e: v.e - 1 });
  const lower = v.f === HIDDEN_BIT ? { f: 4n * v.f - 1n, e: v.e - 2 } : { f: 2n * v.f - 1n, e: v.e - 1 };
  const power = cachedPower(upper.e);
  const scaledUpper = times(upper, power);
  const scaledLower = times({ f: lower.f << BigInt(lower.e - upper.e), e: upper.e }, power);
  const most = { f: scaledUpper.f - 1n, e: scaledUpper.e };
  const generated = generate(times(normalized(v), power), most, most.f - (scaledLower.f + 1n));
  return { digits: generated.digits.join(''), exponent: generated.exponent - power.tens };
}

function normalized({ f, e }: DiyFp): DiyFp {
  const shift = 64 - f.toString(2).length;
  return { f: f << BigInt(shift), e: e - shift };
}

function times(a: DiyFp, b: DiyFp): DiyFp {
  return { f: (a.f * b.f + (1n << 63n)) >> 64n, e: a.e + b.e + 64 };
}

/** The power of ten, of those with an exponent -348 + 8n, that brings a 64-bit number with exponent `e` into range; `tens` is its exponent. */
function cachedPower(e: number): DiyFp & { readonly tens: number } {
  const k = Math.ceil((-61 - e) * 0.30102999566398114 + 347);
  const tens = -348 + ((k >> 3) + 1) * 8;
  const absolute = 10n ** BigInt(Math.abs(tens));
  const width = absolute.toString(2).length;
  if (tens >= 0) {
    const shift = width - 64;
    const f = shift <= 0 ? absolute << BigInt(-shift) : (absolute + (1n << BigInt(shift - 1))) >> BigInt(shift);
    return f === ONE64 ? { f: f >> 1n, e: shift + 1, tens } : { f, e: shift, tens };
  }
  const scale = 63 + width;
  const f = ((1n << BigInt(scale)) + absolute / 2n) / absolute;
  return f >= ONE64 ? { f: f >> 1n, e: 1 - scale, tens } : { f, e: -scale, tens };
}

/** Digits of `most` until what is left is below `delta`; the last is then moved towards `w`. */
function generate(w: DiyFp, most: DiyFp, delta: bigint): { readonly digits: number[]; readonly exponent: number } {
  const shift = BigInt(-most.e);
  const one = 1n << shift;
  const distance = most.f - w.f;
  const digits: number[] = [];
  let whole = most.f >> shift;
  let rest = most.f & (one - 1n);
  for (let left = String(whole).length; left > 0; ) {
    const unit = 10n ** BigInt(--left);
    const digit = Number(whole / unit);
    whole %= unit;
    if (digit !== 0 || digits.length > 0) digits.push(digit);
    const remaining = (whole << shift) + rest;
    if (remaining > delta) continue;
    weed(digits, { delta, rest: remaining, unit: unit << shift, distance });
    return { digits, exponent: left };
  }
  let bound = delta;
  for (let places = 1; ; places++) {
    rest *= 10n;
    bound *= 10n;
    const digit = Number(rest >> shift);
    if (digit !== 0 || digits.length > 0) digits.push(digit);
    rest &= one - 1n;
    if (rest >= bound) continue;
    // RapidJSON's table of powers ends here: from the ninth place on the last digit is not moved.
    weed(digits, { delta: bound, rest, unit: one, distance: places < 9 ? distance * 10n ** BigInt(places) : 0n });
    return { digits, exponent: -places };
  }
}

function weed(
  digits: number[],
  {
    delta,
    rest: from,
    unit,
    distance,
  }: { readonly delta: bigint; readonly rest: bigint; readonly unit: bigint; readonly distance: bigint },
): void {
  let rest = from;
  while (rest < distance && delta - rest >= unit && (rest + unit < distance || distance - rest > rest + unit - distance)) {
    digits.push((digits.pop() ?? 0) - 1);
    rest += unit;
  }
}
