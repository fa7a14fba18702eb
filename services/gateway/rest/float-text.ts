/** C's `%.{precision}g`, exactly: for the values that `JsonWriter` cannot do in doubles. */

/**
 * A positive finite magnitude as TensorFlow Serving prints it: six significant digits if they read back as the same value, else 9 (single) or
 * 17 (double).
 */
export function printExact(magnitude: number, precision: 9 | 17): string {
  const six = digitsOf(magnitude, 6);
  const back = Number(`${six.digits}e${six.exponent - 5}`);
  const exact = (precision === 9 ? Math.fround(back) : back) === magnitude ? six : digitsOf(magnitude, precision);
  return layOut(exact.digits, exact.exponent, exact.digits.length);
}

interface Digits {
  /** Significant digits, as many as were asked for. */
  readonly digits: string;
  /** The power of ten of the first digit. */
  readonly exponent: number;
}

/** Rounds to `count` significant digits, ties to even as C does (JavaScript rounds them up). */
function digitsOf(magnitude: number, count: number): Digits {
  const up = split(magnitude.toExponential(count - 1));
  const tail = magnitude
    .toExponential(Math.min(100, count + 60))
    .replace('.', '')
    .slice(count);
  const isTie = /^50*(e|$)/.test(tail);
  if (!isTie || Number(up.digits.at(-1)) % 2 === 0) return up;
  return { digits: `${up.digits.slice(0, -1)}${Number(up.digits.at(-1)) - 1}`, exponent: up.exponent };
}

function split(text: string): Digits {
  const [mantissa = '', exponent = '0'] = text.split('e');
  return { digits: mantissa.replace('.', ''), exponent: Number(exponent) };
}

function layOut(allDigits: string, exponent: number, precision: number): string {
  const digits = allDigits.replace(/0+$/, '') || '0';
  if (exponent < -4 || exponent >= precision) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${whole}.${digits.slice(exponent + 1) || '0'}`;
}
