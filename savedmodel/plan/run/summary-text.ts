/** Tensors as TensorFlow writes them into the text of a failed Assert. */

import { elementCount } from '#mesh/tensor.ts';
import { printf } from '../../host/as-string.ts';
import { elementWidth, numbers } from '../../host/host-tensor.ts';
import { fromLatin1 } from '../../host/utf8-text.ts';
import type { HostTensor } from '../../host-value.ts';

/** The first `most` elements (-1: all), rows in brackets but for the outermost, and dots where there are more. */
export function summarize(tensor: HostTensor, most: number): string {
  const count = elementCount(tensor.shape);
  const limit = most < 0 ? count : Math.min(most, count);
  const text = textOf(tensor);
  const more = count > limit ? '...' : '';
  if (tensor.shape.length === 0) return limit > 0 ? text(0) : more;
  let next = 0;
  const visit = (axis: number): string => {
    if (next >= limit) return '';
    const size = tensor.shape[axis] ?? 0;
    if (axis === tensor.shape.length - 1) {
      const shown: string[] = [];
      for (let at = 0; at < size; at++) {
        if (next >= limit) return `${shown.join(' ')}${axis === 0 ? '' : '...'}`;
        shown.push(text(next++));
      }
      return shown.join(' ');
    }
    let shown = '';
    for (let at = 0; at < size && next < limit; at++) shown += `[${visit(axis + 1)}]`;
    return shown;
  };
  return visit(0) + more;
}

function textOf(tensor: HostTensor): (at: number) => string {
  const { dtype, data } = tensor;
  if (elementWidth(dtype) === 2) return (at) => `(${float(Number(data[2 * at]))},${float(Number(data[2 * at + 1]))})`;
  switch (dtype) {
    case 'string':
      return (at) => escaped((data[at] as Uint8Array | undefined) ?? fromLatin1(''));
    case 'float':
      return (at) => float(Number(data[at]));
    case 'double':
      return (at) => double(Number(data[at]));
    case 'half':
    case 'bfloat16': {
      const values = numbers(tensor);
      return (at) => float(values[at] ?? 0);
    }
    default:
      return (at) => String(data[at]);
  }
}

/** Six digits where they say the number, else nine. */
function float(value: number): string {
  const short = printf(value, 'g', 6);
  return Number.isNaN(value) || Math.fround(Number(short)) === value || !Number.isFinite(value) ? short : printf(value, 'g', 9);
}

/** Fifteen digits where they say the number, else seventeen. */
function double(value: number): string {
  const short = printf(value, 'g', 15);
  return Number.isNaN(value) || Number(short) === value || !Number.isFinite(value) ? short : printf(value, 'g', 17);
}

const ESCAPES: Readonly<Record<number, string>> = { 10: '\\n', 13: '\\r', 9: '\\t', 34: '\\"', 39: "\\'", 92: '\\\\' };

/** As C writes bytes: what is not printable ASCII in octal. */
function escaped(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => {
    const short = ESCAPES[byte];
    if (short !== undefined) return short;
    return byte < 0x20 || byte > 0x7e ? `\\${byte.toString(8).padStart(3, '0')}` : String.fromCharCode(byte);
  }).join('');
}
