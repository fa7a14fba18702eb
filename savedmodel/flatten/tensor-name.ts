/** A reference to a value as graphs write it: `node`, `node:1`, or `node:out_arg:1` in a function's body. Without the `^` of a control edge. */
export interface TensorName {
  readonly node: string;
  /** The output argument, where one is named. */
  readonly arg?: string;
  /** The index, within the argument where one is named; 0 where none is written. */
  readonly index: number;
}

/** Splits a reference. A text that is no reference names a node that does not exist, which the lookup then reports. */
export function parseTensorName(text: string): TensorName {
  const first = text.indexOf(':');
  if (first < 0) return { node: text, index: 0 };
  const node = text.slice(0, first);
  const second = text.indexOf(':', first + 1);
  if (second >= 0) return { node, arg: text.slice(first + 1, second), index: toIndex(text.slice(second + 1)) };
  const last = text.slice(first + 1);
  return /^\d+$/.test(last) ? { node, index: Number(last) } : { node, arg: last, index: 0 };
}

/** An index that is no number becomes one that no node has. */
function toIndex(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.MAX_SAFE_INTEGER;
}
