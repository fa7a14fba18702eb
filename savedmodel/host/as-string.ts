/** Numbers as text: AsString and StringFormat, with the formats of C's printf. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { bigints, dim, type HostKernels, input, invalid, isBig, numbers, strings, stringTensor } from './host-tensor.ts';
import { bytesOfText, fromLatin1, textOfBytes } from './utf8-text.ts';

/** AsString and StringFormat. */
export const FORMAT_OPS: HostKernels = {
  AsString: (inputs, attrs) => [asString(input(inputs, 0), attrs)],
  StringFormat: (inputs, attrs) => [stringFormat(inputs, attrs)],
};

const FLOATING = new Set(['float', 'double', 'half', 'bfloat16', 'complex64', 'complex128']);

function asString(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const option = <T>(name: string, read: (name: string) => T, otherwise: T) => (attrs.has(name) ? read(name) : otherwise);
  const precision = option('precision', (name) => attrs.int(name), -1);
  const scientific = option('scientific', (name) => attrs.bool(name), false);
  const shortest = option('shortest', (name) => attrs.bool(name), false);
  const width = option('width', (name) => attrs.int(name), -1);
  const fill = option('fill', (name) => attrs.text(name), '');
  if (fill.length > 1) throw invalid(`Fill string must be one or fewer characters`);
  if (scientific && shortest) throw invalid('Cannot select both scientific and shortest notation');
  const { dtype } = tensor;
  if (dtype === 'string') return tensor;
  if (!FLOATING.has(dtype)) {
    if (scientific || shortest) throw invalid(`scientific and shortest format not supported for datatype ${dtype}`);
    if (precision !== -1) throw invalid(`precision not supported for datatype ${dtype}`);
    if (dtype === 'bool')
      return text(
        tensor.shape,
        Array.from(numbers(tensor), (value) => (value ? 'true' : 'false')),
      );
    const values = isBig(dtype) ? Array.from(bigints(tensor), String) : Array.from(numbers(tensor), String);
    return text(
      tensor.shape,
      values.map((value) => padded(value, width, fill)),
    );
  }
  const kind = scientific ? 'e' : shortest ? 'g' : 'f';
  const one = (value: number) => padded(printf(value, kind, precision < 0 ? 6 : precision), width, fill);
  if (dtype !== 'complex64' && dtype !== 'complex128') return text(tensor.shape, Array.from(numbers(tensor), one));
  const parts = tensor.data as Float64Array;
  return text(
    tensor.shape,
    Array.from({ length: elementCount(tensor.shape) }, (_, at) => `(${one(parts[2 * at] ?? 0)},${one(parts[2 * at + 1] ?? 0)})`),
  );
}

function text(shape: readonly number[], values: readonly string[]): HostTensor {
  return stringTensor(shape, values.map(fromLatin1));
}

/** Applies printf's width and one flag: space, plus, minus or zero; any other fill is printf's business and refused there. */
function padded(value: string, width: number, fill: string): string {
  const sign = (fill === ' ' || fill === '+') && !value.startsWith('-') ? fill : '';
  const signed = sign + value;
  if (width <= signed.length) return signed;
  if (fill === '-') return signed.padEnd(width);
  if (fill !== '0' || !/\d/.test(value)) return signed.padStart(width);
  const negative = signed.startsWith('-') ? '-' : '';
  return negative + signed.slice(negative.length).padStart(width - negative.length, '0');
}

/** A number as C's `%.{precision}f`, `e` or `g` writes it: exact halves go to even. */
export function printf(value: number, kind: 'f' | 'e' | 'g', precision: number): string {
  if (Number.isNaN(value)) return Object.is(value, Number.NaN) ? 'nan' : '-nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const magnitude = Math.abs(value);
  if (kind === 'f') return sign + fixed(magnitude, precision);
  if (kind === 'e') return sign + exponential(magnitude, precision);
  const significant = Math.max(1, precision);
  const scientific = exponential(magnitude, significant - 1);
  const exponent = Number(scientific.slice(scientific.indexOf('e') + 1));
  if (exponent < -4 || exponent >= significant)
    return sign + scientific.replace(/\.?0*e/, (found) => (scientific.includes('.') ? 'e' : found));
  const plain = fixed(magnitude, significant - 1 - exponent);
  return sign + (plain.includes('.') ? plain.replace(/\.?0+$/, '') : plain);
}

function fixed(magnitude: number, digits: number): string {
  if (magnitude >= 1e21) return BigInt(magnitude).toString() + (digits > 0 ? `.${'0'.repeat(digits)}` : '');
  const rounded = magnitude.toFixed(Math.min(100, digits));
  const exact = magnitude.toFixed(Math.min(100, digits + 30));
  const cut = exact.slice(0, exact.length - (Math.min(100, digits + 30) - digits)).replace(/\.$/, '');
  const rest = exact.slice(exact.length - (Math.min(100, digits + 30) - digits));
  const half = /^50*$/.test(rest) && rest.length > 20;
  const chosen = half && Number(cut.at(-1)) % 2 === 0 ? cut : rounded;
  return digits > 100 ? chosen.padEnd(chosen.length + digits - 100, '0') : chosen;
}

function exponential(magnitude: number, digits: number): string {
  const rounded = magnitude.toExponential(Math.min(100, digits));
  const exact = magnitude.toExponential(Math.min(100, digits + 30));
  const [mantissa = '0', exponent = '+0'] = rounded.split('e');
  const [full = '0'] = exact.split('e');
  const cut = full.slice(0, digits === 0 ? 1 : digits + 2);
  const rest = full.slice(digits === 0 ? 2 : digits + 2);
  const half = /^50*$/.test(rest) && rest.length > 20 && Number(cut.at(-1)) % 2 === 0;
  const power = exponent.slice(1);
  return `${half ? cut : mantissa}e${exponent[0]}${power.padStart(2, '0')}`;
}

function stringFormat(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const template = attrs.has('template') ? attrs.text('template') : '%s';
  const placeholder = attrs.has('placeholder') ? attrs.text('placeholder') : '%s';
  const summarize = attrs.has('summarize') ? attrs.int('summarize') : 3;
  const pieces = template.split(placeholder);
  if (pieces.length !== inputs.length + 1) {
    throw invalid(`num placeholders in template and num inputs must match: ${pieces.length - 1} vs. ${inputs.length}`);
  }
  const parts = pieces.map((piece, at) => piece + (at < inputs.length ? summary(input(inputs, at), summarize) : ''));
  return stringTensor([], [bytesOfText(parts.join(''))]);
}

/** A tensor as TensorFlow summarises it: at most `edge` elements at either end of each axis. */
function summary(tensor: HostTensor, edge: number): string {
  const one = elementText(tensor);
  if (tensor.shape.length === 0) return one(0);
  const most = edge < 0 ? Number.POSITIVE_INFINITY : edge;
  const visit = (axis: number, base: number): string => {
    const size = dim(tensor.shape, axis);
    const inner = elementCount(tensor.shape.slice(axis + 1));
    const last = axis === tensor.shape.length - 1;
    const lines = last ? ' ' : `${'\n'.repeat(tensor.shape.length - 1 - axis)}${' '.repeat(axis + 1)}`;
    const shown: string[] = [];
    for (let at = 0; at < size; at++) {
      if (size > 2 * most && at === most) {
        shown.push('...');
        at = size - most;
      }
      if (at < size) shown.push(last ? one(base + at) : visit(axis + 1, base + at * inner));
    }
    return `[${shown.join(lines)}]`;
  };
  return visit(0, 0);
}

function elementText(tensor: HostTensor): (at: number) => string {
  if (tensor.dtype === 'string') {
    const values = strings(tensor);
    return (at) => `"${escaped(textOfBytes(values[at] ?? new Uint8Array(0)))}"`;
  }
  if (tensor.dtype === 'bool') return (at) => String(tensor.data[at]);
  if (isBig(tensor.dtype)) return (at) => String(bigints(tensor)[at]);
  const values = numbers(tensor);
  if (!FLOATING.has(tensor.dtype)) return (at) => String(values[at]);
  return (at) => printf(values[at] ?? 0, 'g', 6);
}

/** C escapes of quotes, backslashes and control characters. */
function escaped(value: string): string {
  return value.replace(/[\\"']|\p{Cc}/gu, (unit) => {
    const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '"': '\\"', "'": "\\'", '\\': '\\\\' };
    return short[unit] ?? `\\${unit.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}
