/** Bodies of REST requests. */
import { isUtf8 } from 'node:buffer';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeExample } from '#proto/example.ts';
import { decodeBase64, decodePlainBase64 } from '../../../../services/gateway/rest/base64.ts';
import { decodeExamples } from '../../../../services/gateway/rest/examples-json.ts';
import { encodePredict } from '../../../../services/gateway/rest/predict-answer.ts';
import { type DecodedPredict, decodePredict } from '../../../../services/gateway/rest/predict-json.ts';
import { scanPredict } from '../../../../services/gateway/rest/predict-scan.ts';
import { readPredict } from '../../../../services/gateway/rest/predict-tape.ts';
import { decodeRawPredict } from '../../../../services/gateway/rest/raw-tensors.ts';
import { signatureOf } from '../../../gateway/rest/computing-core.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const SIGNATURES = [
  signatureOf({ x: 'float' }, {}),
  signatureOf({ x: 'double' }, {}),
  signatureOf({ x: 'int64' }, {}),
  signatureOf({ x: 'string' }, {}),
  signatureOf({ x: 'bool' }, {}),
  signatureOf({ x: 'uint8' }, {}),
  signatureOf({ x: 'float', y: 'string' }, {}),
  signatureOf({ x: 'half', y: 'int32' }, {}),
];
const JSON_WORDS = [
  '{"instances":',
  '"inputs":',
  '{"b64":"',
  '"signature_name":',
  '"x":',
  '[',
  ']',
  '{',
  '}',
  ',',
  ':',
  '"',
  '\\ud83d\\ude00',
  '\\u0000',
];
const MORE_WORDS = [
  '\\ud800',
  '1e308',
  '-0',
  '0.1',
  'null',
  'true',
  'false',
  'NaN',
  'Infinity',
  '-Infinity',
  ' ',
  '\n',
  '\ufeff',
  '\xff',
  '[[',
  ']]',
];
const text = (...texts: readonly string[]) => texts.map((one) => Buffer.from(one));

/** The first byte of an input chooses the signature; the rest is the body. */
function predictJson(bytes: Uint8Array): void {
  const signature = SIGNATURES[(bytes[0] ?? 0) % SIGNATURES.length] ?? SIGNATURES[0];
  if (signature === undefined) return;
  const body = Buffer.from(bytes.subarray(1));
  const complete = outcome(() => readPredict(body, () => signature));
  agree(
    'both',
    outcome(() => decodePredict(body, () => signature)),
    complete,
  );
  const quick = orRefused(() => scanPredict(body, () => signature));
  if (quick !== undefined) agree('the scanner and the tape', quick, complete);
  if (typeof complete === 'string') return;
  for (const { dtype, shape, bytes: data } of complete.inputs.values()) {
    if (dtype === 'string') unpackStrings(data, elementCount(shape));
    else if (data.byteLength !== elementCount(shape) * DTYPES[dtype].byteSize)
      throw new Error(`${data.byteLength} bytes for [${shape}] of ${dtype}`);
  }
  againstParse(body, complete);
  // As JSON text, bytes that are no UTF-8 and halves lose something.
  const exact = ({ dtype, bytes: data }: Tensor) => dtype !== 'half' && (dtype !== 'string' || isUtf8(data));
  if (![...complete.inputs.values()].every(exact)) return;
  const again = encodePredict(complete.inputs, 'columnar').toString().replace('"outputs"', '"inputs"');
  agree('what is written and read again', decodePredict(Buffer.from(again), () => signature).inputs, complete.inputs);
}

/** Values, or the refusal's text: two readers must agree on either. */
function outcome(read: () => DecodedPredict): DecodedPredict | string {
  let refused = '';
  const value = orRefused(() => {
    try {
      return read();
    } catch (caught) {
      if (caught instanceof ServeError) refused = `${caught.code}: ${caught.message}`;
      throw caught;
    }
  });
  return value ?? refused;
}

/** Compares numbers with what JSON.parse reads, where there is one plain list of them. */
function againstParse(body: Buffer, { inputs, format }: DecodedPredict): void {
  const [tensor, ...others] = inputs.values();
  if (tensor === undefined || others.length > 0 || (tensor.dtype !== 'float' && tensor.dtype !== 'double')) return;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return; // RapidJSON takes NaN, and stops after the document.
  }
  const document = parsed as { readonly instances?: unknown; readonly inputs?: unknown };
  // Of a key that is given twice JSON.parse takes the last, and RapidJSON the first.
  if (/"(?:instances|inputs|signature_name)"[\s\S]*"(?:instances|inputs)"|\\u|"x"|b64/.test(body.toString('latin1'))) return;
  const list = format === 'row' ? document.instances : document.inputs;
  const flat = (Array.isArray(list) ? list.flat(Number.POSITIVE_INFINITY) : [list]) as readonly unknown[];
  if (!flat.every((one) => typeof one === 'number')) return;
  // RapidJSON reads `-0` as the integer 0.
  const numbers = (flat as readonly number[]).map((one) => one + 0);
  const own = tensor.bytes.slice().buffer;
  const read = Array.from(tensor.dtype === 'float' ? new Float32Array(own) : new Float64Array(own), (one) => one + 0);
  agree('JSON.parse', read, tensor.dtype === 'float' ? numbers.map(Math.fround) : numbers);
}

function examplesJson(bytes: Uint8Array): void {
  const decoded = orRefused(() => decodeExamples(bytes));
  for (const example of decoded?.examples ?? []) decodeExample(example);
}

/** The header up to the first line feed, then the body. */
function rawTensors(bytes: Uint8Array): void {
  const end = bytes.indexOf(10);
  const header = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
  const body = end < 0 ? new Uint8Array(0) : bytes.subarray(end + 1);
  const decoded = orRefused(() => decodeRawPredict(header, body));
  for (const { dtype, shape, bytes: data } of decoded?.inputs.values() ?? []) {
    if (dtype === 'bool' && data.some((byte) => byte > 1)) throw new Error('a bool is neither 0 nor 1');
    if (dtype === 'string') unpackStrings(data, elementCount(shape));
    else if (data.byteLength !== elementCount(shape) * DTYPES[dtype].byteSize)
      throw new Error(`${data.byteLength} bytes for [${shape}] of ${dtype}`);
  }
}

/** Both decoders read the same, and what Node reads of it. */
function base64(bytes: Uint8Array): void {
  const whole = decodeBase64(bytes);
  const plain = decodePlainBase64(Buffer.from(bytes), 0, bytes.byteLength);
  if (plain !== undefined) agree('both decoders', Buffer.from(plain), whole === undefined ? undefined : Buffer.from(whole));
  if (whole !== undefined) agree('Node', Buffer.from(whole), Buffer.from(Buffer.from(bytes).toString('latin1'), 'base64'));
}

const FLOATS = '{"inputs":[{"name":"x","dtype":"DT_FLOAT","shape":[2]}]}\n\0\0\0\0\0\0\0\0';
const STRINGS = '{"signature_name":"s","inputs":[{"name":"x","dtype":"DT_STRING","shape":[1]}]}\n\0\0\0\0\x03\0\0\0abc';

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'predict-json',
    format: 'text',
    covers: ['services/gateway/rest/'],
    words: [...JSON_WORDS, ...MORE_WORDS],
    seeds: () =>
      text(
        '\0{"instances": [1.0, 2.5e-3, 5]}',
        '\x01{"inputs": [[1, -2.25], [3.141592653589793238, 4e10]]}',
        '\x02{"inputs": {"x": [1, 9223372036854775807]}}',
        '\x03{"signature_name":"s","instances":[{"b64":"aGVsbG8="},"text \\ud83d\\ude00"]}',
        '\x04{"instances":[true,false]}',
        '\x05{"instances":[[[1,2],[3,4]],[[5,6],[7,255]]]}',
        '\x06{"instances":[{"x":1,"y":"a"},{"y":{"b64":"AAA="},"x":2}]}',
        '\x07{"inputs":{"x":[0.5],"y":[1]}}',
      ),
    check: predictJson,
  },
  {
    name: 'examples-json',
    format: 'text',
    covers: ['services/gateway/rest/'],
    words: [...JSON_WORDS, ...MORE_WORDS, '"examples":', '"context":'],
    seeds: () =>
      text('{"context":{"c":[1.0]},"examples":[{"x":1,"y":{"b64":"AAA="},"z":["a"]},{"x":[true,false]}]}', '{"examples":[{"x":[]}]}'),
    check: examplesJson,
  },
  {
    name: 'raw-tensors',
    format: 'text',
    covers: ['services/gateway/rest/raw-tensors.ts', 'mesh/tensor.ts'],
    words: ['"DT_STRING"', '"DT_INT64"', '"DT_HALF"', '"DT_BOOL"', '[4294967296]', '[0]', '[-1]', '[1e300]', '\n', 'null', '__proto__'],
    seeds: () => text(FLOATS, STRINGS),
    check: rawTensors,
  },
  {
    name: 'base64',
    format: 'text',
    covers: ['services/gateway/rest/base64.ts'],
    words: ['=', '==', '-', '_', '+/', ' ', '\n'],
    seeds: () => text('aGVsbG8=', 'aGVsbG8', '-_-_', ''),
    check: base64,
  },
];
