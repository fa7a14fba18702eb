/**
 * Tensors as raw bytes over HTTP, beside JSON: the body is the bytes of all tensors one after another (little-endian, row-major; strings in the
 * layout of `mesh/tensor.ts`), and the header `x-headrace-tensors` says what they are.
 */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, dtypeFromProtoName, elementCount, type NamedTensors, type Tensor, unpackStrings } from '#mesh/tensor.ts';

/** The header of both directions. */
export const TENSORS_HEADER = 'x-headrace-tensors';

/** What a body of raw bytes and its header say. */
export interface RawPredict {
  /** Empty when the client named none. */
  readonly signatureName: string;
  readonly inputs: NamedTensors;
}

function invalid(problem: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `${TENSORS_HEADER}: ${problem}`);
}

/** Cuts a body as its header `{"signature_name"?, "inputs": [{"name", "dtype": "DT_FLOAT", "shape": [..]}, …]}` says. Throws INVALID_ARGUMENT. */
export function decodeRawPredict(header: string, body: Uint8Array): RawPredict {
  const document = parseHeader(header);
  const inputs = new Map<string, Tensor>();
  let start = 0;
  for (const item of document.inputs) {
    const tensor = readTensor(item, body, start);
    const name = String(item.name);
    if (inputs.has(name)) throw invalid(`input "${name}" is given twice`);
    inputs.set(name, tensor);
    start += tensor.bytes.byteLength;
  }
  if (start !== body.byteLength) throw invalid(`the inputs take ${start} bytes, the body has ${body.byteLength}`);
  return { signatureName: document.signatureName, inputs };
}

/** The header and body that give these tensors back. */
export function encodeRawOutputs(outputs: NamedTensors): { readonly header: string; readonly body: Buffer } {
  const items = [...outputs].map(([name, { dtype, shape }]) => ({ name, dtype: DTYPES[dtype].protoName, shape }));
  const header = JSON.stringify({ outputs: items }).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const parts = [...outputs.values()].map(({ bytes }) => bytes);
  const [only] = parts;
  // A lone output leaves as it is: its bytes are nobody else's any more.
  if (parts.length === 1 && only !== undefined) return { header, body: Buffer.from(only.buffer, only.byteOffset, only.byteLength) };
  return { header, body: Buffer.concat(parts) };
}

interface HeaderItem {
  readonly name?: unknown;
  readonly dtype?: unknown;
  readonly shape?: unknown;
}

function parseHeader(header: string): { readonly signatureName: string; readonly inputs: readonly HeaderItem[] } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(header);
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `${TENSORS_HEADER}: not JSON`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null) throw invalid('not an object');
  const { inputs, signature_name: signatureName = '' } = parsed as { readonly inputs?: unknown; readonly signature_name?: unknown };
  if (!Array.isArray(inputs)) throw invalid('"inputs" is not a list');
  if (typeof signatureName !== 'string') throw invalid('"signature_name" is not a string');
  for (const item of inputs) if (typeof item !== 'object' || item === null) throw invalid('an input is not an object');
  return { signatureName, inputs };
}

function readTensor(item: HeaderItem, body: Uint8Array, start: number): Tensor {
  const { name, dtype: protoName, shape } = item;
  if (typeof name !== 'string') throw invalid('an input has no name');
  const dtype = typeof protoName === 'string' ? dtypeFromProtoName(protoName) : undefined;
  if (dtype === undefined) throw invalid(`input "${name}" has the unknown dtype ${JSON.stringify(protoName)}`);
  if (!isShape(shape)) throw invalid(`input "${name}" has the shape ${JSON.stringify(shape)}, a list of whole numbers was expected`);
  const count = elementCount(shape);
  const left = body.byteLength - start;
  const byteLength = dtype === 'string' ? packedLength(body.subarray(start), count) : count * DTYPES[dtype].byteSize;
  if (byteLength === undefined || byteLength > left) {
    throw invalid(`input "${name}" of ${count} elements does not fit the ${left} bytes that are left of the body`);
  }
  const bytes = body.subarray(start, start + byteLength);
  if (dtype === 'string') {
    try {
      unpackStrings(bytes, count);
    } catch (cause) {
      throw new ServeError('INVALID_ARGUMENT', `${TENSORS_HEADER}: input "${name}": ${String(cause)}`, { cause });
    }
  }
  // A runtime would compute with the byte itself.
  if (dtype === 'bool' && bytes.some((byte) => byte > 1)) throw invalid(`input "${name}" of DT_BOOL has a byte that is neither 0 nor 1`);
  return { dtype, shape, bytes };
}

function isShape(shape: unknown): shape is number[] {
  if (!Array.isArray(shape) || shape.length > 254) return false;
  if (!shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) return false;
  return Number.isSafeInteger(elementCount(shape));
}

/** The bytes of a packed string tensor, read from its last offset; undefined when even the offsets do not fit. */
function packedLength(bytes: Uint8Array, count: number): number | undefined {
  const headerBytes = 4 * (count + 1);
  if (bytes.byteLength < headerBytes) return undefined;
  return headerBytes + new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(4 * count, true);
}
