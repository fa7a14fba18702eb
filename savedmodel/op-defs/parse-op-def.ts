import { ServeError } from '#mesh/errors.ts';
import type { ArgDef, AttrValue } from '../graph.ts';

/** What is known of an op: its arguments in order, and its attributes' defaults. */
export interface OpDef {
  readonly inputs: readonly ArgDef[];
  readonly outputs: readonly ArgDef[];
  readonly defaults: ReadonlyMap<string, AttrValue>;
}

/**
 * Parses a line of the tables: `name|inputs|outputs|defaults`. An argument is `name:type` with type `1` (a DataType number), `$T` (named by
 * attribute T), `$T*N` or `1*N` (N of them) or `[T]` (a list of dtypes). Defaults are JSON, each value tagged with its kind.
 */
export function parseOpDef(line: string): OpDef {
  const [name = '', inputs = '', outputs = '', ...rest] = line.split('|');
  return { inputs: parseArgs(inputs, name), outputs: parseArgs(outputs, name), defaults: parseDefaults(rest.join('|')) };
}

function parseArgs(text: string, op: string): ArgDef[] {
  return text === '' ? [] : text.split(',').map((one) => parseArg(one, op));
}

function parseArg(text: string, op: string): ArgDef {
  const found = /^(\w+):(?:\[(\w+)\]|(?:\$(\w+)|(\d+))(?:\*(\w+))?)$/.exec(text);
  if (found === null) throw new ServeError('INTERNAL', `the op table has a broken argument ${text} of ${op} (this is a bug)`);
  const [, name = '', typeListAttr, typeAttr, dtype, numberAttr] = found;
  return {
    name,
    ...(typeListAttr !== undefined && { typeListAttr }),
    ...(typeAttr !== undefined && { typeAttr }),
    ...(dtype !== undefined && { dtype: Number(dtype) }),
    ...(numberAttr !== undefined && { numberAttr }),
  };
}

/** A default as the tables write it: string, int, float, bool, dtype, shape, or a list of these. */
type Written =
  | { readonly s: string }
  | { readonly i: number }
  | { readonly f: number | string }
  | { readonly b: boolean }
  | { readonly t: number }
  | { readonly h: readonly number[] | null }
  | readonly Written[];

function parseDefaults(text: string): ReadonlyMap<string, AttrValue> {
  if (text === '') return new Map();
  const written: Record<string, Written> = JSON.parse(text);
  return new Map(Object.entries(written).map(([name, value]) => [name, attrOf(value)]));
}

function attrOf(written: Written): AttrValue {
  if ('s' in written) return { type: 'string', value: new TextEncoder().encode(written.s) };
  if ('i' in written) return { type: 'int', value: written.i };
  if ('f' in written) return { type: 'float', value: typeof written.f === 'number' ? Math.fround(written.f) : floatOf(written.f) };
  if ('b' in written) return { type: 'bool', value: written.b };
  if ('t' in written) return { type: 'dtype', value: written.t };
  if ('h' in written) return { type: 'shape', value: written.h };
  return { type: 'list', values: written.map(attrOf) };
}

/** Python writes `inf`, `-inf` and `nan`. */
function floatOf(text: string): number {
  if (text === 'inf') return Number.POSITIVE_INFINITY;
  return text === '-inf' ? Number.NEGATIVE_INFINITY : Number.NaN;
}
