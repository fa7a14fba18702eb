/** Reads `signatures.json`, which says how the inputs and outputs of an ONNX graph are offered to clients. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, dtypeFromProtoName } from '#mesh/tensor.ts';
import { type HostOp, isHostOp } from './host-ops.ts';

/** One feature of the tf.Examples that an input takes. */
export interface FeatureEntry {
  readonly dtype: 'float' | 'int64' | 'string';
  /** Of one example, without the batch; every dimension is known. */
  readonly shape: readonly number[];
  /** The graph input it feeds. */
  readonly onnx: string;
  /** Used when an example lacks the feature; absent: the feature is required. */
  readonly defaults?: readonly (number | string)[];
}

/** One input as the file gives it. */
export interface InputEntry {
  readonly dtype: DType;
  readonly shape: readonly number[] | null;
  readonly onnx: string;
  readonly tensorName: string;
  /** Present: a string tensor of tf.Examples whose features feed the graph. */
  readonly features?: Readonly<Record<string, FeatureEntry>>;
}

/** One output as the file gives it. */
export interface OutputEntry {
  readonly dtype: DType;
  readonly shape: readonly number[] | null;
  readonly onnx: string;
  readonly tensorName: string;
  /** Present: computed from an input without the graph. */
  readonly host?: { readonly op: HostOp; readonly input: string };
}

/** One signature as the file gives it, defaults filled in. */
export interface SignatureEntry {
  /** In full: `tensorflow/serving/predict`. */
  readonly method: string;
  readonly model: string;
  /** Undefined: to be derived from the graph. */
  readonly batchable: boolean | undefined;
  readonly inputs: Readonly<Record<string, InputEntry>>;
  readonly outputs: Readonly<Record<string, OutputEntry>>;
}

/** The whole file. */
export interface SignaturesFile {
  readonly stateful: boolean;
  readonly signatures: Readonly<Record<string, SignatureEntry>>;
}

const METHODS = new Map(['predict', 'classify', 'regress'].map((word) => [word, `tensorflow/serving/${word}`]));

/** Parses the text of the file at `path`. Throws INVALID_ARGUMENT that names the file and the field. `defaultModel` is the folder's own. */
export function parseSignaturesFile(text: string, path: string, defaultModel: string): SignaturesFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `${path} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const root = new Field(json, path, '');
  root.only(['stateful', 'signatures']);
  return {
    stateful: root.at('stateful').flag(false) ?? false,
    signatures: root.at('signatures').entries((field) => parseSignature(field, defaultModel)),
  };
}

function parseSignature(field: Field, defaultModel: string): SignatureEntry {
  field.only(['method', 'model', 'batchable', 'inputs', 'outputs']);
  const method = field.at('method').text('predict');
  const inputs = field.at('inputs').entries(parseInput);
  const outputs = field.at('outputs').entries((output, alias) => parseOutput(output, alias, inputs));
  if (Object.keys(outputs).length === 0) field.at('outputs').fail('must name at least one output');
  const model = field.at('model').text(defaultModel);
  if (model.includes('/') || model.includes('\\')) field.at('model').fail(`"${model}" must be a file in the version's own folder`);
  return { method: METHODS.get(method) ?? method, model, batchable: field.at('batchable').flag(undefined), inputs, outputs };
}

function parseInput(field: Field, alias: string): InputEntry {
  field.only(['dtype', 'shape', 'onnx', 'tensor_name', 'parse_example']);
  const dtype = field.at('dtype').dtype();
  const onnx = field.at('onnx').text(alias);
  const entry: InputEntry = { dtype, shape: field.at('shape').shape(), onnx, tensorName: field.at('tensor_name').text(`${onnx}:0`) };
  const examples = field.at('parse_example');
  if (!examples.present) return entry;
  if (dtype !== 'string') examples.fail('needs an input of dtype DT_STRING');
  return { ...entry, features: examples.entries(parseFeature) };
}

function parseFeature(field: Field, name: string): FeatureEntry {
  field.only(['dtype', 'shape', 'onnx', 'default']);
  const dtype = field.at('dtype').dtype();
  if (dtype !== 'float' && dtype !== 'int64' && dtype !== 'string') {
    return field.at('dtype').fail('must be DT_FLOAT, DT_INT64 or DT_STRING: a tf.Example holds no other');
  }
  const shape = field.at('shape').shape() ?? field.at('shape').fail('must be known for a feature');
  if (shape.some((dim) => dim < 0)) field.at('shape').fail('must be known for a feature');
  const count = shape.reduce((product, dim) => product * dim, 1);
  const defaults = field.at('default').values(dtype === 'string' ? 'string' : 'number');
  if (defaults !== undefined && defaults.length !== count && defaults.length !== 1) {
    field.at('default').fail(`has ${defaults.length} values, shape [${shape}] holds ${count}`);
  }
  return { dtype, shape, onnx: field.at('onnx').text(name), ...(defaults === undefined ? {} : { defaults }) };
}

function parseOutput(field: Field, alias: string, inputs: Readonly<Record<string, InputEntry>>): OutputEntry {
  field.only(['dtype', 'shape', 'onnx', 'tensor_name', 'host']);
  const onnx = field.at('onnx').text(alias);
  const entry: OutputEntry = {
    dtype: field.at('dtype').dtype(),
    shape: field.at('shape').shape(),
    onnx,
    tensorName: field.at('tensor_name').text(`${onnx}:0`),
  };
  const host = field.at('host');
  if (!host.present) return entry;
  host.only(['op', 'input']);
  const op = host.at('op').text(undefined);
  const input = host.at('input').text(undefined);
  if (!isHostOp(op)) return host.at('op').fail(`"${op}" is not Identity or StringLength`);
  const source = Object.hasOwn(inputs, input) ? inputs[input] : undefined;
  if (source === undefined) return host.at('input').fail(`"${input}" is not an input of this signature`);
  if (op === 'StringLength' && (source.dtype !== 'string' || entry.dtype !== 'int32'))
    host.fail('StringLength goes from DT_STRING to DT_INT32');
  if (op === 'Identity' && source.dtype !== entry.dtype) host.fail('Identity keeps the dtype of its input');
  return { ...entry, host: { op, input } };
}

/** A place in the file: knows its value and how to complain about it. */
class Field {
  readonly #value: unknown;
  readonly #file: string;
  readonly #path: string;

  constructor(value: unknown, file: string, path: string) {
    this.#value = value;
    this.#file = file;
    this.#path = path;
  }

  get present(): boolean {
    return this.#value !== undefined;
  }

  fail(why: string): never {
    throw new ServeError('INVALID_ARGUMENT', `${this.#file}: ${this.#path === '' ? '' : `${this.#path} `}${why}`);
  }

  at(key: string): Field {
    return new Field(this.#object()[key], this.#file, this.#path === '' ? key : `${this.#path}.${key}`);
  }

  only(keys: readonly string[]): void {
    const stranger = Object.keys(this.#object()).find((key) => !keys.includes(key));
    if (stranger !== undefined) this.at(stranger).fail(`is not a field; ${keys.join(', ')} are`);
  }

  entries<Entry>(parse: (field: Field, key: string) => Entry): Record<string, Entry> {
    if (!this.present) this.fail('is missing');
    return Object.fromEntries(Object.keys(this.#object()).map((key) => [key, parse(this.at(key), key)]));
  }

  text(otherwise: string | undefined): string {
    if (this.#value === undefined && otherwise !== undefined) return otherwise;
    return typeof this.#value === 'string' ? this.#value : this.fail('must be a string');
  }

  flag<Default extends boolean | undefined>(otherwise: Default): boolean | Default {
    if (this.#value === undefined) return otherwise;
    return typeof this.#value === 'boolean' ? this.#value : this.fail('must be true or false');
  }

  dtype(): DType {
    const name = this.text(undefined);
    return dtypeFromProtoName(name) ?? this.fail(`"${name}" is not a dtype; DT_FLOAT is one`);
  }

  shape(): readonly number[] | null {
    if (this.#value === undefined || this.#value === null) return null;
    const dims: unknown = this.#value;
    if (!Array.isArray(dims) || !dims.every((dim) => Number.isSafeInteger(dim) && dim >= -1)) {
      return this.fail('must be null or whole numbers from -1');
    }
    return dims as number[];
  }

  values(type: 'number' | 'string'): readonly (number | string)[] | undefined {
    if (this.#value === undefined) return undefined;
    const values: unknown = this.#value;
    if (!Array.isArray(values) || !values.every((value) => typeof value === type)) return this.fail(`must be a list of ${type}s`);
    return values as (number | string)[];
  }

  #object(): Readonly<Record<string, unknown>> {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.fail('must be an object');
    return value as Record<string, unknown>;
  }
}
