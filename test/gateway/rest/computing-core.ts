/** A gateway core without a mesh, for tests of the edge: it resolves from a table and computes in this process, for real. */
import { ServeError } from '#mesh/errors.ts';
import type { MemberId } from '#mesh/ids.ts';
import { DEFAULT_SIGNATURE, type Signature, type Signatures } from '#mesh/signature.ts';
import { elementCount, type NamedTensors, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { GatewayCore, InferRequest, PendingInference, ResolvedServable, VersionChoice } from '../../../services/gateway/core.ts';
import type { ExamplesApi, ExamplesRequest, PendingExamples } from '../../../services/gateway/examples-api.ts';

/** A model of the test: what each signature computes. */
export interface ComputingModel {
  readonly versions: readonly number[];
  readonly labels: Readonly<Record<string, number>>;
  readonly signatures: Signatures;
  compute(signatureName: string, inputs: NamedTensors): NamedTensors;
}

export interface ComputingCore extends GatewayCore {
  /** Requests that arrived, in order. */
  readonly requests: InferRequest[];
  /** Calls of `cancel` on pending requests. */
  readonly cancelled: InferRequest[];
  /** While true, requests wait until `release`. */
  hold: boolean;
  release(): void;
}

export function createComputingCore(models: Readonly<Record<string, ComputingModel>>): ComputingCore {
  const requests: InferRequest[] = [];
  const cancelled: InferRequest[] = [];
  const waiting = new Set<() => void>();
  let config = { configText: '', revision: 1 };

  function resolve(name: string, choice: VersionChoice): ResolvedServable {
    const model = models[name];
    const asked = choice.type === 'specific' ? `Specific(${name}, ${choice.version})` : `Latest(${name})`;
    if (model === undefined) throw new ServeError('NOT_FOUND', `Servable not found for request: ${asked}`);
    const version =
      choice.type === 'label' ? model.labels[choice.label] : choice.type === 'latest' ? Math.max(...model.versions) : choice.version;
    if (version === undefined)
      throw new ServeError('INVALID_ARGUMENT', `Unrecognized servable version label: ${choice.type === 'label' ? choice.label : ''}`);
    if (!model.versions.includes(version)) throw new ServeError('NOT_FOUND', `Servable not found for request: ${asked}`);
    return { id: { name, version }, signatures: model.signatures, batching: null, stateful: false };
  }

  const core: ComputingCore = {
    requests,
    cancelled,
    hold: false,
    release: () => {
      for (const wake of waiting) wake();
    },
    resolve,
    infer(request): PendingInference {
      requests.push(request);
      let drop: (error: ServeError) => void = () => {};
      const dropped = new Promise<never>((_resolve, reject) => {
        drop = reject;
      });
      dropped.catch(() => {});
      const held = core.hold ? new Promise<void>((wake) => waiting.add(wake)) : Promise.resolve();
      const computed = held.then(() => {
        const model = models[request.servable.id.name];
        if (model === undefined) throw new ServeError('INTERNAL', 'no such model');
        return {
          outputs: model.compute(request.signatureName, request.inputs),
          timings: { queuedMs: 0, executedMs: 0, batchRows: 1, workerId: 'worker-1' as MemberId },
        };
      });
      const answer = Promise.race([computed, dropped]);
      return {
        answer,
        whenSettled: (onResult, onError) => void answer.then(onResult, onError),
        cancel: () => {
          cancelled.push(request);
          drop(new ServeError('CANCELLED', 'cancelled'));
        },
      };
    },
    status(name, version) {
      const model = models[name];
      const wanted = model?.versions.filter((one) => version === undefined || one === version) ?? [];
      if (wanted.length === 0) {
        throw new ServeError(
          'NOT_FOUND',
          version === undefined ? `Could not find any versions of model ${name}` : `Could not find version ${version} of model ${name}`,
        );
      }
      return [...wanted].sort((a, b) => b - a).map((one) => ({ version: one, state: 'AVAILABLE', status: { code: 'OK', message: '' } }));
    },
    models: () => Object.keys(models).sort(),
    labels: (name) => models[name]?.labels ?? {},
    modelReady: (name) => models[name] !== undefined,
    ready: () => true,
    onRoutingChange: () => ({ [Symbol.dispose]() {} }),
    async reload(configText) {
      config = { configText, revision: config.revision + 1 };
    },
    readConfig: async () => config,
    async putModel(modelText, expectedRevision) {
      if (expectedRevision !== null && expectedRevision !== config.revision) {
        throw new ServeError('ABORTED', `revision ${expectedRevision} was expected, ${config.revision} is running`);
      }
      config = { configText: `${config.configText}config { ${modelText} }\n`, revision: config.revision + 1 };
      return config;
    },
    async removeModel(name) {
      config = { configText: `# without ${name}\n`, revision: config.revision + 1 };
      return config;
    },
  };
  return core;
}

/** A signature of one or more inputs and outputs of unknown shape. */
export function signatureOf(
  inputs: Readonly<Record<string, Tensor['dtype']>>,
  outputs: Readonly<Record<string, Tensor['dtype']>>,
): Signature {
  const specs = (dtypes: Readonly<Record<string, Tensor['dtype']>>) =>
    Object.fromEntries(
      Object.entries(dtypes).map(([name, dtype]) => [name, { dtype, shape: null, accepts: null, tensorName: `${name}:0` }]),
    );
  return { method: 'tensorflow/serving/predict', inputs: specs(inputs), outputs: specs(outputs), batchable: true };
}

/** half_plus_two: y = x / 2 + 2 on floats of any shape. */
export const HALF_PLUS_TWO: ComputingModel = {
  versions: [123],
  labels: {},
  signatures: {
    serving_default: signatureOf({ x: 'float' }, { y: 'float' }),
    classify_x_to_y: { ...signatureOf({ inputs: 'string' }, { scores: 'float' }), method: 'tensorflow/serving/classify' },
    regress_x_to_y: { ...signatureOf({ inputs: 'string' }, { outputs: 'float' }), method: 'tensorflow/serving/regress' },
  },
  compute: (_name, inputs) => {
    const x = inputOf(inputs, 'x');
    const values = new Float32Array(new Uint8Array(x.bytes).buffer).map((value) => value / 2 + 2);
    return new Map([['y', { dtype: 'float', shape: x.shape, bytes: new Uint8Array(values.buffer) }]]);
  },
};

const DTYPE_SIGNATURES = {
  f32: 'float',
  f64: 'double',
  f16: 'half',
  bf16: 'bfloat16',
  i8: 'int8',
  i16: 'int16',
  i32: 'int32',
  i64: 'int64',
  u8: 'uint8',
  u16: 'uint16',
  u32: 'uint32',
  u64: 'uint64',
  bool: 'bool',
  str: 'string',
} as const;

/** ident: gives back what it gets, one signature for each dtype, and three that compute a little. */
export const IDENT: ComputingModel = {
  versions: [1, 3],
  labels: { stable: 1, canary: 3 },
  signatures: {
    serving_default: signatureOf({ x: 'float' }, { y: 'float' }),
    ...Object.fromEntries(Object.entries(DTYPE_SIGNATURES).map(([name, dtype]) => [name, signatureOf({ x: dtype }, { y: dtype })])),
    scalar: signatureOf({ x: 'float' }, { y: 'float' }),
    two: signatureOf({ a: 'float', b: 'int64' }, { twice: 'int64', sum: 'float' }),
    bytes: signatureOf({ image_bytes: 'string' }, { len: 'int32', out_bytes: 'string' }),
  },
  compute: (name, inputs) => {
    if (name === 'two') return sumAndTwice(inputOf(inputs, 'a'), inputOf(inputs, 'b'));
    if (name === 'bytes') return lengths(inputOf(inputs, 'image_bytes'));
    const x = inputOf(inputs, 'x');
    if (name !== 'scalar') return new Map([['y', x]]);
    const doubled = new Float32Array(new Uint8Array(x.bytes).buffer).map((value) => value * 2);
    return new Map([['y', { ...x, bytes: new Uint8Array(doubled.buffer) }]]);
  },
};

function inputOf(inputs: NamedTensors, name: string): Tensor {
  const tensor = inputs.get(name);
  if (tensor === undefined) throw new ServeError('INVALID_ARGUMENT', `no input ${name}`);
  return tensor;
}

function sumAndTwice(a: Tensor, b: Tensor): NamedTensors {
  const rows = b.shape[0] ?? 0;
  const values = new Float32Array(new Uint8Array(a.bytes).buffer);
  const width = values.length / rows;
  const sums = Float32Array.from({ length: rows }, (_, row) => values.subarray(row * width, (row + 1) * width).reduce((x, y) => x + y, 0));
  const twice = new BigInt64Array(new Uint8Array(b.bytes).buffer).map((value) => value * 2n);
  return new Map<string, Tensor>([
    ['twice', { dtype: 'int64', shape: [rows], bytes: new Uint8Array(twice.buffer) }],
    ['sum', { dtype: 'float', shape: [rows], bytes: new Uint8Array(sums.buffer) }],
  ]);
}

function lengths(images: Tensor): NamedTensors {
  const elements = unpackStrings(images.bytes, elementCount(images.shape));
  const sizes = Int32Array.from(elements, (element) => element.byteLength);
  return new Map<string, Tensor>([
    ['len', { dtype: 'int32', shape: images.shape, bytes: new Uint8Array(sizes.buffer) }],
    ['out_bytes', { dtype: 'string', shape: images.shape, bytes: packStrings(elements) }],
  ]);
}

/** An examples API that reads the float feature `x` of each example and answers x / 2 + 2. */
export const HALF_EXAMPLES: ExamplesApi = {
  classify: (request) => pending(() => scoresOf(request).map((score) => [{ label: new Uint8Array(0), score }])),
  regress: (request) => pending(() => scoresOf(request)),
  multiInference: () => pending(() => []),
};

function pending<Result>(compute: () => Result): PendingExamples<Result> {
  return { answer: Promise.resolve().then(compute), cancel() {} };
}

function scoresOf({ servable, signatureName, examples }: ExamplesRequest): number[] {
  const name = signatureName === '' ? DEFAULT_SIGNATURE : signatureName;
  if (servable.signatures[name] === undefined) throw new ServeError('INVALID_ARGUMENT', `No signature was found with the name: ${name}`);
  return examples.map((example) => (floatFeature(example, 'x') ?? 0) / 2 + 2);
}

/** The last value given to a float feature in a serialized tf.Example (later entries of a map win). */
export function floatFeature(example: Uint8Array, name: string): number | undefined {
  let found: number | undefined;
  for (const features of fields(example, 1)) {
    for (const entry of fields(features, 1)) {
      const key = fields(entry, 1)[0];
      const feature = fields(entry, 2)[0];
      if (key === undefined || feature === undefined || Buffer.from(key).toString() !== name) continue;
      for (const list of fields(feature, 2)) for (const packed of fields(list, 1)) found = Buffer.from(packed).readFloatLE(0);
    }
  }
  return found;
}

/** The payloads of a message's length-delimited fields with this number. */
function fields(message: Uint8Array, wanted: number): Uint8Array[] {
  const payloads: Uint8Array[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.byteLength) {
    const tag = varint();
    const length = varint();
    if (tag >> 3 === wanted) payloads.push(message.subarray(at, at + length));
    at += length;
  }
  return payloads;
}
