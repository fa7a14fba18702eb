/** onnxruntime's errors in our words. It throws plain Errors whose text is all there is to tell them apart. */
import { ServeError } from '#mesh/errors.ts';

/** What a request's own data can cause: the shapes and values that a graph turns down while it runs. */
const CALLERS_FAULT =
  /invalid dimensions|invalid rank|unexpected input data type|broadcast|dimension|incompatible|mismatch|\bshapes?\b|\brank\b|input channels|not in valid range|out of (data )?bounds|out of range|invalid (input|feed|sequence length|index|indice)|scale value|integer overflow/i;

/** A failure to load the file at `path`. */
export function toLoadError(path: string, caught: unknown): ServeError {
  const unsupported = /Unsupported data type: (\d+)/.exec(textOf(caught))?.[1];
  if (unsupported !== undefined) {
    const name = ELEMENT_TYPES[unsupported] ?? `number ${unsupported}`;
    return new ServeError('INVALID_ARGUMENT', `${path}: the graph takes or gives ${name}, which onnxruntime-node does not carry`, {
      cause: caught,
    });
  }
  const text = clean(textOf(caught).replace(/^Load model from .*? failed:/s, ''));
  return new ServeError('INVALID_ARGUMENT', `${path} cannot be loaded: ${text}`, { cause: caught });
}

/** A failure of a run: INVALID_ARGUMENT when the inputs are to blame, RESOURCE_EXHAUSTED when memory is, INTERNAL otherwise. */
export function toRunError(caught: unknown): ServeError {
  if (caught instanceof ServeError) return caught;
  const text = clean(textOf(caught));
  if (/Integer (division|modulo) by zero/.test(text))
    return new ServeError('INVALID_ARGUMENT', 'Integer division by zero', { cause: caught });
  if (/bad_alloc|bad allocation|failed to allocate/i.test(text)) return new ServeError('RESOURCE_EXHAUSTED', text, { cause: caught });
  return new ServeError(CALLERS_FAULT.test(text) ? 'INVALID_ARGUMENT' : 'INTERNAL', text, { cause: caught });
}

/** ONNX's element types that onnxruntime-node refuses, by number in `TensorProto.DataType`. */
const ELEMENT_TYPES: Readonly<Record<string, string>> = {
  14: 'complex64',
  15: 'complex128',
  16: 'bfloat16',
  17: 'float8e4m3fn',
  18: 'float8e4m3fnuz',
  19: 'float8e5m2',
  20: 'float8e5m2fnuz',
};

function textOf(caught: unknown): string {
  return caught instanceof Error ? caught.message : String(caught);
}

/** Without source files, C++ signatures and advice to the model's author, on one line. */
function clean(text: string): string {
  return text
    .replace(/\/\S*onnxruntime\S*\.(cc|h):\d+ .*?\)( const)?(::<lambda\(.*?\)>)? /gs, '')
    .replace(/ was false\./g, ' was false:')
    .replace(/Please fix either the inputs\/outputs or the model\./g, '')
    .replace(/\s+/g, ' ')
    .trim();
}
