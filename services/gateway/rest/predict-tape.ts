/** The slow, complete path of `decodePredict`: takes any body, and gives TensorFlow Serving's texts in its order of checks. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature } from '#mesh/signature.ts';
import type { DType, Tensor } from '#mesh/tensor.ts';
import { ElementWriter } from './element-writer.ts';
import { base64Of, isBase64Object, jsonTypeName } from './json-base64.ts';
import { debugText } from './json-print.ts';
import { fitsInt64, type JsonTape, parseJson } from './json-tape.ts';
import type { DecodedPredict } from './predict-json.ts';

/** TensorFlow's limit on dimensions. */
const MAX_RANK = 254;

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}

/** A body whose top level is an object, with `signature_name` read (empty: none given). Throws TensorFlow Serving's texts. */
export function readDocument(body: Uint8Array): { readonly tape: JsonTape; readonly signatureName: string } {
  const tape = parseJson(body);
  if (tape.kind(0) !== 'object') throw invalid(`JSON Value: ${debugText(tape, 0)} Is not object`);
  const named = tape.member(0, 'signature_name');
  if (named !== undefined && tape.kind(named) !== 'string') {
    throw invalid(`JSON Value: ${debugText(tape, 0)} not formatted correctly. 'signature_name' key must be a string value.`);
  }
  return { tape, signatureName: named === undefined ? '' : fromUtf8(tape.string(named)) };
}

/** Decodes a whole body; see `decodePredict`. */
export function readPredict(body: Uint8Array, signatureFor: (name: string) => Signature): DecodedPredict {
  const { tape, signatureName } = readDocument(body);
  const signature = signatureFor(signatureName);
  const columns = Object.entries(signature.inputs).map(([name, spec]) => new TapeColumn(name, spec.dtype));
  if (columns.length === 0) throw invalid(`Failed to get input map for signature: ${signatureName === '' ? 'DEFAULT' : signatureName}`);
  const instances = tape.member(0, 'instances');
  const inputs = tape.member(0, 'inputs');
  const complain = (text: string) => invalid(`JSON Value: ${debugText(tape, 0)} ${text}`);
  if (instances !== undefined) {
    if (inputs !== undefined) throw complain("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ");
    if (tape.kind(instances) !== 'array') throw complain("Expecting 'instances' to be an list/array");
    if (tape.size(instances) === 0) throw complain("No values in 'instances' array");
    readInstances(tape, instances, columns);
  } else if (inputs !== undefined) {
    readInputs(tape, inputs, columns);
  } else {
    throw invalid("Missing 'inputs' or 'instances' key");
  }
  const leading = instances === undefined ? [] : [tape.size(instances)];
  return {
    signatureName: signatureName === '' ? DEFAULT_SIGNATURE : signatureName,
    signature,
    inputs: new Map(columns.map((column) => [column.name, column.finish(leading)])),
    format: instances === undefined ? 'columnar' : 'row',
  };
}

function readInstances(tape: JsonTape, list: number, columns: readonly TapeColumn[]): void {
  const [only] = columns;
  if (only === undefined) return;
  const first = list + 1;
  if (tape.kind(first) !== 'object' && columns.length > 1) {
    throw invalid('instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map');
  }
  const isNamed = (entry: number) => tape.kind(entry) === 'object' && !isBase64Object(tape, entry);
  const named = isNamed(first);
  let item = 0;
  for (const entry of tape.elements(list)) {
    if (named) {
      if (!isNamed(entry)) throw invalid(`Expecting object but got list at item ${item} of input list`);
      readNamedInstance(tape, entry, item, columns);
    } else {
      if (isNamed(entry)) throw invalid(`Expecting value/list but got object at item ${item} of input list`);
      within(`Failed to process element: ${item} of 'instances' list.`, () => only.addInstance(tape, entry));
    }
    item++;
  }
}

function readNamedInstance(tape: JsonTape, object: number, item: number, columns: readonly TapeColumn[]): void {
  const seen = new Set<string>();
  for (const [key, value] of tape.members(object)) {
    const name = fromUtf8(tape.string(key));
    within(`Failed to process element: ${item} key: ${name} of 'instances' list.`, () => {
      const column = columns.find((one) => one.name === name);
      if (column === undefined) throw invalid(`JSON object: does not have named input: ${name}`);
      column.addInstance(tape, value);
    });
    seen.add(name);
  }
  // A key that is given twice would shift the rows of its tensor; TensorFlow Serving lets that happen.
  if (seen.size !== columns.length || tape.size(object) !== columns.length) {
    const names = columns.map(({ name }) => name).sort();
    throw invalid(
      `Failed to process element: ${item} of 'instances' list. JSON object: ${debugText(tape, object)} keys must be equal to: ${names.join(',')}`,
    );
  }
}

/** Runs `action`; what it throws is put after `where`, with its code in front. */
function within(where: string, action: () => void): void {
  try {
    action();
  } catch (caught) {
    if (!(caught instanceof ServeError)) throw caught;
    throw new ServeError('INVALID_ARGUMENT', `${where} Error: ${caught.code}: ${caught.message}`, { cause: caught });
  }
}

function readInputs(tape: JsonTape, value: number, columns: readonly TapeColumn[]): void {
  if (tape.kind(value) !== 'object' || isBase64Object(tape, value)) {
    const [only] = columns;
    if (columns.length > 1) {
      throw invalid('inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map');
    }
    only?.add(tape, value);
    return;
  }
  for (const column of columns) {
    const entry = tape.member(value, column.name);
    if (entry === undefined) throw invalid(`Missing named input: ${column.name} in 'inputs' object.`);
    column.add(tape, entry);
  }
}

/** One input while it is read from a tape. */
class TapeColumn {
  readonly name: string;
  readonly #dtype: DType;
  readonly #elements: ElementWriter;
  /** The shape of the first value. */
  #shape: readonly number[] | undefined;
  #size = 0;

  constructor(name: string, dtype: DType) {
    this.name = name;
    this.#dtype = dtype;
    this.#elements = new ElementWriter(dtype);
  }

  /** Adds one row: its shape must be that of the rows before. */
  addInstance(tape: JsonTape, root: number): void {
    const before = this.#elements.count;
    const expected = this.#shape;
    const shape = this.add(tape, root);
    const size = this.#elements.count - before;
    if (expected === undefined) {
      this.#size = size;
      return;
    }
    this.#shape = expected;
    if (size !== this.#size) throw invalid(`Expecting tensor size: ${this.#size} but got: ${size}`);
    if (shape.length !== expected.length || shape.some((dim, level) => dim !== expected[level])) {
      throw invalid(`Expecting shape [${expected.join(',')}] but got: [${shape.join(',')}]`);
    }
  }

  /** Adds all elements of a value, which must be a scalar or a regular nest of lists; returns its shape. */
  add(tape: JsonTape, root: number): readonly number[] {
    const shape = denseShape(tape, root);
    this.#shape = shape;
    /** Entries after the lists that are open, outermost first. */
    const ends: number[] = [];
    let entry = root;
    do {
      const level = ends.length;
      if (tape.kind(entry) !== 'array') {
        if (level !== shape.length) {
          throw invalid(
            `JSON Value: ${debugText(tape, entry)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${shape.length}`,
          );
        }
        this.#addElement(tape, entry);
        entry = tape.next(entry);
      } else {
        if (level >= shape.length) throw invalid(`Encountered list at unexpected level: ${level} expected < ${shape.length}`);
        if (tape.size(entry) !== shape[level]) {
          throw invalid(`Encountered list at unexpected size: ${tape.size(entry)} at level: ${level} expected size: ${shape[level]}`);
        }
        ends.push(tape.next(entry));
        entry++;
      }
      while (ends.length > 0 && entry === ends.at(-1)) ends.pop();
    } while (ends.length > 0);
    return shape;
  }

  finish(leading: readonly number[]): Tensor {
    const shape = [...leading, ...(this.#shape ?? [])];
    if (shape.length > MAX_RANK) throw invalid(`tensor parsing error: ${this.name}`);
    return { dtype: this.#dtype, shape, bytes: this.#elements.finish() };
  }

  #addElement(tape: JsonTape, entry: number): void {
    const kind = tape.kind(entry);
    const isWhole = kind === 'integer';
    const elements = this.#elements;
    if (kind === 'object') {
      if (this.#dtype !== 'string') throw this.#typeError(tape, entry);
      if (!isBase64Object(tape, entry)) throw invalid(`JSON Value: ${debugText(tape, entry)} not formatted correctly for base64 data`);
      elements.string(base64Of(tape, entry));
      return;
    }
    switch (this.#dtype) {
      case 'float':
      case 'double':
        if (!isWhole && kind !== 'double') break;
        elements.number(tape.number(entry));
        return;
      case 'int8':
      case 'uint8':
      case 'int16':
      case 'int32': {
        const value = isWhole ? tape.number(entry) : Number.NaN;
        if (!(value >= -(2 ** 31) && value <= 2 ** 31 - 1)) break;
        elements.number(value);
        return;
      }
      case 'uint32': {
        const value = isWhole ? tape.number(entry) : Number.NaN;
        if (!(value >= 0 && value <= 2 ** 32 - 1)) break;
        elements.number(value);
        return;
      }
      case 'int64':
      case 'uint64': {
        if (!isWhole) break;
        const value = tape.integer(entry);
        if (this.#dtype === 'int64' ? !fitsInt64(value) : value < 0n) break;
        elements.wide(value);
        return;
      }
      case 'bool':
        if (kind !== 'true' && kind !== 'false') break;
        elements.number(kind === 'true' ? 1 : 0);
        return;
      case 'string':
        if (kind !== 'string') break;
        elements.string(tape.string(entry));
        return;
      default:
        throw new ServeError('UNIMPLEMENTED', `Conversion of JSON Value: ${debugText(tape, entry)} to type: ${this.#dtype}`);
    }
    throw this.#typeError(tape, entry);
  }

  #typeError(tape: JsonTape, entry: number): ServeError {
    return invalid(`JSON Value: ${debugText(tape, entry)} Type: ${jsonTypeName(tape, entry)} is not of expected type: ${this.#dtype}`);
  }
}

/** Sizes along the first elements: the shape, if the nest is regular. */
function denseShape(tape: JsonTape, root: number): number[] {
  const shape: number[] = [];
  for (let entry = root; tape.kind(entry) === 'array'; entry++) {
    const size = tape.size(entry);
    shape.push(size);
    if (size === 0) break;
  }
  return shape;
}
