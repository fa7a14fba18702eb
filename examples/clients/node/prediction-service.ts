/** TensorFlow Serving's PredictionService from Node: @grpc/grpc-js and the .proto files of this repository, nothing generated. */
import { join } from 'node:path';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import type { TensorProto } from './tensors.ts';

const PROTO = join(import.meta.dirname, '../../../proto');

/** What is asked of a model: the latest version, unless a version is named. */
export interface ModelSpec {
  readonly name: string;
  readonly signature_name?: string;
  readonly version?: { readonly value: number };
}

/** A tf.Example: features by name, each a list of bytes or of floats. */
export type Example = Readonly<
  Record<
    string,
    { readonly bytes_list: { readonly value: readonly Uint8Array[] } } | { readonly float_list: { readonly value: readonly number[] } }
  >
>;

/** A label with its score. */
export interface Class {
  readonly label: string;
  readonly score: number;
}

/** A connection. Calls are rejected with grpc-js's ServiceError, whose `details` are the server's words, after 30 s at the latest. */
export interface PredictionService {
  /** The outputs of a signature by name. */
  predict(model: ModelSpec, inputs: Readonly<Record<string, TensorProto>>): Promise<Readonly<Record<string, TensorProto>>>;
  /** The classes of each example. */
  classify(model: ModelSpec, examples: readonly Example[]): Promise<readonly (readonly Class[])[]>;
  /** The value of each example. */
  regress(model: ModelSpec, examples: readonly Example[]): Promise<readonly number[]>;
  close(): void;
}

/** Connects to HOST:PORT, without TLS. */
export function connect(server: string): PredictionService {
  const loaded = loadSync('tensorflow_serving/apis/prediction_service.proto', {
    includeDirs: [PROTO],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
  });
  const service = loaded['tensorflow.serving.PredictionService'] as unknown as Record<string, MethodDefinition<object, object>>;
  const client = new Client(server, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });

  function call(name: string, request: object): Promise<object> {
    const method = service[name];
    if (method === undefined) throw new Error(`PredictionService has no method ${name}`);
    return new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + 30_000);
      const done = (error: ServiceError | null, response?: object) => (error === null ? resolve(response ?? {}) : reject(error));
      client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, { deadline }, done);
    });
  }

  return {
    async predict(model, inputs) {
      const { outputs } = (await call('Predict', { model_spec: model, inputs })) as { readonly outputs: Record<string, TensorProto> };
      return outputs;
    },
    async classify(model, examples) {
      const { result } = (await call('Classify', { model_spec: model, input: inputOf(examples) })) as {
        readonly result: { readonly classifications: readonly { readonly classes: readonly Class[] }[] };
      };
      return result.classifications.map(({ classes }) => classes);
    },
    async regress(model, examples) {
      const { result } = (await call('Regress', { model_spec: model, input: inputOf(examples) })) as {
        readonly result: { readonly regressions: readonly { readonly value: number }[] };
      };
      return result.regressions.map(({ value }) => value);
    },
    close: () => client.close(),
  };
}

function inputOf(examples: readonly Example[]): object {
  return { example_list: { examples: examples.map((feature) => ({ features: { feature } })) } };
}
