/** Messages of the gRPC services. */
import { DTYPES, type DType, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeExamplesRequest, encodeExamplesRequest } from '#proto/classification.ts';
import { encodeExample } from '#proto/example.ts';
import { decodeGetModelMetadataRequest, encodeGetModelMetadataRequest } from '#proto/get-model-metadata.ts';
import { decodeGetModelStatusRequest, encodeGetModelStatusRequest } from '#proto/get-model-status.ts';
import {
  decodePutModelRequest,
  decodeRemoveModelRequest,
  encodePutModelRequest,
  encodeRemoveModelRequest,
} from '#proto/headrace-config.ts';
import { decodeHealthCheckRequest, encodeHealthCheckRequest } from '#proto/health.ts';
import { decodeMultiInferenceRequest, encodeMultiInferenceRequest } from '#proto/inference.ts';
import { decodeReloadConfigRequest, encodeReloadConfigRequest } from '#proto/model-management.ts';
import { encodeModelServerConfig, parseModelServerConfigText } from '#proto/model-server-config.ts';
import type { ModelSpec } from '#proto/model-spec.ts';
import { decodeInputs, decodePredictRequest, encodePredictRequest } from '#proto/predict.ts';
import { decodeTensorProto, encodeTensorProto } from '#proto/tensor-proto.ts';
import { WireWriter } from '#proto/wire.ts';
import { loadRoot } from '../../../proto/protobuf-root.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const BOUNDS = { maxExpandedBytes: 1024 * 1024 };
const spec = { present: true, name: 'model', version: 3, label: null, signatureName: 'serving_default' };
const TENSORS = new Map(
  (Object.keys(DTYPES) as DType[]).map((dtype): [string, Tensor] => {
    if (dtype === 'string') return ['string', { dtype, shape: [2], bytes: packStrings([Uint8Array.of(1, 2), new Uint8Array(0)]) }];
    return [dtype, { dtype, shape: [2, 1], bytes: new Uint8Array(2 * DTYPES[dtype].byteSize).fill(dtype === 'bool' ? 1 : 0x25) }];
  }),
);
const EXAMPLE = encodeExample(
  new Map([
    ['f', { kind: 'float', values: Float32Array.of(1, 2) }],
    ['i', { kind: 'int64', values: BigInt64Array.of(-1n) }],
    ['b', { kind: 'bytes', values: [Uint8Array.of(7)] }],
  ]),
);
const INPUT = { examples: [EXAMPLE, EXAMPLE], context: EXAMPLE };

const root = loadRoot();

/** The message as protobufjs writes it anew, or undefined when it reads none: a second opinion that has nothing given twice. */
function canonical(
  type: string,
  bytes: Uint8Array,
): { readonly bytes: Uint8Array; readonly value: Readonly<Record<string, unknown>> } | undefined {
  const found = root.lookupType(type);
  try {
    const again = new Uint8Array(found.encode(found.decode(bytes)).finish());
    const value = found.toObject(found.decode(again), { longs: String, bytes: String, defaults: true });
    // Broken UTF-8 is replaced in ways of their own.
    return /\ufffd|[\ud800-\udfff]/.test(JSON.stringify(value)) ? undefined : { bytes: again, value };
  } catch {
    return undefined;
  }
}

function tensorOf(bytes: Uint8Array): Tensor | undefined {
  const tensor = orRefused(() => decodeTensorProto(bytes, BOUNDS));
  if (tensor === undefined) return undefined;
  const count = elementCount(tensor.shape);
  if (tensor.dtype === 'bool' && tensor.bytes.some((byte) => byte > 1)) throw new Error('a bool is neither 0 nor 1');
  if (tensor.dtype === 'string') unpackStrings(tensor.bytes, count);
  else if (tensor.bytes.byteLength !== count * DTYPES[tensor.dtype].byteSize)
    throw new Error(`${tensor.bytes.byteLength} bytes for ${count}`);
  return tensor;
}

/** Either form of the values gives the tensor back, and protobufjs reads the same shape and values. */
function tensorProto(bytes: Uint8Array): void {
  const tensor = tensorOf(bytes);
  if (tensor !== undefined) {
    for (const tensorContent of [false, true]) {
      const writer = new WireWriter();
      encodeTensorProto(writer, tensor, { tensorContent });
      agree('what is written and read again', plain(decodeTensorProto(writer.finish(), BOUNDS)), plain(tensor));
    }
  }
  const second = canonical('tensorflow.TensorProto', bytes);
  const own = second === undefined ? undefined : tensorOf(second.bytes);
  if (second === undefined || own === undefined) return;
  const { tensor_shape: shape } = second.value as { readonly tensor_shape: { readonly dim: readonly { readonly size: string }[] } | null };
  agree(
    'the shape',
    own.shape.map(String),
    (shape?.dim ?? []).map(({ size }) => size),
  );
  const field = { float: 'float_val', double: 'double_val', int64: 'int64_val', int32: 'int_val' }[own.dtype as string];
  if (field === undefined || second.value.tensor_content !== '') return;
  const listed = second.value[field] as readonly (number | string)[];
  const count = elementCount(own.shape);
  if (count > 4096) return;
  const last = listed.at(Math.min(count, listed.length) - 1) ?? 0;
  const expected = Array.from({ length: count }, (_, index) => (index < listed.length ? (listed[index] ?? 0) : last));
  agree('the values', numbersOf(own).map(String), expected.map(String));
}

function numbersOf({ dtype, bytes }: Tensor): readonly (number | bigint)[] {
  const { buffer } = bytes.slice();
  if (dtype === 'float') return [...new Float32Array(buffer)];
  if (dtype === 'double') return [...new Float64Array(buffer)];
  return dtype === 'int64' ? [...new BigInt64Array(buffer)] : [...new Int32Array(buffer)];
}

const plain = ({ dtype, shape, bytes }: Tensor) => ({ dtype, shape, bytes: Buffer.from(bytes).toString('hex') });

/** Beyond 2^53 a version is a double next to it, and the last that is written is the last below 2^63. */
const near = (one: ModelSpec) => ({ ...one, version: one.version === null ? null : Math.min(one.version, 2 ** 63 - 1024) });

function predictRequest(bytes: Uint8Array): void {
  const request = orRefused(() => decodePredictRequest(bytes));
  if (request !== undefined) {
    const tensors = orRefused(() => decodeInputs(request.inputs, BOUNDS));
    if (tensors !== undefined && request.spec.present) {
      const again = decodePredictRequest(encodePredictRequest(request.spec, tensors, { outputFilter: request.outputFilter }));
      agree('the rest, written and read again', [near(again.spec), again.outputFilter], [near(request.spec), request.outputFilter]);
      agree('the tensors', [...decodeInputs(again.inputs, BOUNDS).values()].map(plain), [...tensors.values()].map(plain));
    }
  }
  const second = canonical('tensorflow.serving.PredictRequest', bytes);
  if (second === undefined) return;
  const own = decodePredictRequest(second.bytes);
  const { inputs, output_filter: filter } = second.value as { readonly inputs: object; readonly output_filter: readonly string[] };
  agree('the filter', own.outputFilter, filter);
  agree('the names', [...own.inputs.keys()].sort(), Object.keys(inputs).sort());
  const named = second.value.model_spec as { readonly name: string; readonly signature_name: string } | null;
  agree('the model', [own.spec.name, own.spec.signatureName], [named?.name ?? '', named?.signature_name ?? '']);
}

/** The first byte chooses the message. */
function examplesRequest(bytes: Uint8Array): void {
  const body = bytes.subarray(1);
  if ((bytes[0] ?? 0) % 2 === 1) {
    const request = orRefused(() => decodeMultiInferenceRequest(body));
    if (request === undefined) return;
    const again = decodeMultiInferenceRequest(encodeMultiInferenceRequest(request.tasks, { examples: request.examples }));
    agree('what is written and read again', again.examples, request.examples);
    return;
  }
  const request = orRefused(() => decodeExamplesRequest(body));
  if (request === undefined) return;
  const again = decodeExamplesRequest(encodeExamplesRequest(request.spec, { examples: request.examples }));
  agree('what is written and read again', [again.examples, again.spec.name], [request.examples, request.spec.name]);
}

const config = parseModelServerConfigText(
  'model_config_list { config { name: "a" version_labels { key: "s" value: 2 } model_version_policy { specific { versions: [1, 2] } } logging_config {} } }',
);
const model = config.type === 'list' ? (config.models[0] ?? null) : null;

/** For each message: how it is read, and how what was read is written. */
const CONTROL: readonly ((bytes: Uint8Array) => void)[] = [
  (bytes) =>
    again(bytes, decodeGetModelMetadataRequest, ({ spec: named, metadataFields }) => encodeGetModelMetadataRequest(named, metadataFields)),
  (bytes) => again(bytes, decodeGetModelStatusRequest, encodeGetModelStatusRequest),
  (bytes) => again(bytes, decodeReloadConfigRequest, (request) => encodeReloadConfigRequest({ ...request, config: request.config })),
  (bytes) => again(bytes, decodePutModelRequest, encodePutModelRequest),
  (bytes) => again(bytes, decodeRemoveModelRequest, encodeRemoveModelRequest),
  (bytes) => again(bytes, decodeHealthCheckRequest, encodeHealthCheckRequest),
];

/** What was read is written, and is then the same. */
function again<Message>(bytes: Uint8Array, decode: (bytes: Uint8Array) => Message, encode: (message: Message) => Uint8Array): void {
  const message = orRefused(() => decode(bytes));
  if (message === undefined) return;
  // What is absent and what has its default look alike once written.
  const written = encode(message);
  const read = decode(written);
  agree('what is written and read again', Buffer.from(encode(read)), Buffer.from(written));
}

const withKind = (kind: number, bytes: Uint8Array) => Buffer.concat([Uint8Array.of(kind), bytes]);

function tensorSeeds(): Uint8Array[] {
  return [...TENSORS.values()].flatMap((tensor) =>
    [false, true].map((tensorContent) => {
      const writer = new WireWriter();
      encodeTensorProto(writer, tensor, { tensorContent });
      return writer.finish();
    }),
  );
}

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'predict-request',
    format: 'protobuf',
    covers: ['proto/'],
    words: ['model', 'x', 'serving_default', '\xff'],
    seeds: () => [encodePredictRequest(spec, TENSORS, { outputFilter: ['y'] }), encodePredictRequest(spec, new Map(), {})],
    check: predictRequest,
  },
  { name: 'tensor-proto', format: 'protobuf', covers: ['proto/'], seeds: tensorSeeds, check: tensorProto },
  {
    name: 'examples-request',
    format: 'bytes',
    covers: ['proto/'],
    seeds: () => [
      withKind(0, encodeExamplesRequest(spec, INPUT)),
      withKind(1, encodeMultiInferenceRequest([{ spec, methodName: 'm' }], INPUT)),
    ],
    check: examplesRequest,
  },
  {
    name: 'control-requests',
    format: 'bytes',
    covers: ['proto/'],
    words: ['signature_def', 'type.googleapis.com/', '__proto__', encodeModelServerConfig(config)],
    seeds: () => [
      withKind(0, encodeGetModelMetadataRequest(spec, ['signature_def'])),
      withKind(1, encodeGetModelStatusRequest(spec)),
      withKind(2, encodeReloadConfigRequest({ config, metricNames: ['m'] })),
      withKind(3, encodePutModelRequest({ model, expectedRevision: 4 })),
      withKind(4, encodeRemoveModelRequest({ name: 'm', expectedRevision: 4 })),
      withKind(5, encodeHealthCheckRequest('service')),
    ],
    check: (bytes) => CONTROL[(bytes[0] ?? 0) % CONTROL.length]?.(bytes.subarray(1)),
  },
];
