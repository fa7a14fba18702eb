/** A gRPC server over a whole test mesh, and real grpc-js clients for it. */
import {
  type Client,
  credentials,
  loadPackageDefinition as loadClients,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { startBlobStore } from '#mesh/blobs.ts';
import { createSystemClock } from '#mesh/clock.ts';
import type { RegistryAnswer, RegistryQuestion } from '#mesh/control.ts';
import { newMemberId } from '#mesh/ids.ts';
import { startPresence } from '#mesh/presence.ts';
import type { Signature, Signatures } from '#mesh/signature.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import type { DType } from '#mesh/tensor.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { loadPackageDefinition } from '#proto/load.ts';
import { createExamplesApi } from '../../../services/gateway/classify-regress.ts';
import { createGatewayEvents } from '../../../services/gateway/events.ts';
import { createGatewayCore } from '../../../services/gateway/gateway-core.ts';
import { type GrpcSettings, startGrpcServer } from '../../../services/gateway/grpc/server.ts';
import { startInferClient } from '../../../services/gateway/infer-client.ts';
import { startRoutingTable } from '../../../services/gateway/routing-table.ts';
import { type Fault, halfSignature, settle, startTestBatcher, subjects } from '../half-mesh.ts';
import { routedModel, routedVersion, startTestRegistry } from '../test-registry.ts';

const examplesInput = { inputs: { dtype: 'string', shape: null, accepts: null, tensorName: 'tf_example:0' } } as const;
const scalarColumn = { dtype: 'float', shape: [-1, 1], accepts: null, tensorName: 'y:0' } as const;

export const halfSignatures: Signatures = {
  serving_default: halfSignature,
  classify_x_to_y: { method: 'tensorflow/serving/classify', inputs: examplesInput, outputs: { scores: scalarColumn }, batchable: true },
  regress_x_to_y: { method: 'tensorflow/serving/regress', inputs: examplesInput, outputs: { outputs: scalarColumn }, batchable: true },
};

function identity(dtype: DType): Signature {
  const spec = (tensorName: string) => ({ dtype, shape: null, accepts: null, tensorName });
  return { method: 'tensorflow/serving/predict', inputs: { x: spec('x:0') }, outputs: { y: spec('y:0') }, batchable: true };
}

export const identSignatures: Signatures = Object.fromEntries(
  (
    [
      ['i32', 'int32'],
      ['i64', 'int64'],
      ['i8', 'int8'],
      ['i16', 'int16'],
      ['u32', 'uint32'],
      ['bool', 'bool'],
      ['str', 'string'],
      ['f16', 'half'],
    ] as const
  ).map(([name, dtype]) => [name, identity(dtype)]),
);

const mlpSignature: Signature = {
  ...halfSignature,
  inputs: { x: { dtype: 'float', shape: [-1, 64], accepts: [-1, 64], tensorName: 'x:0' } },
};

/** The x of a request that names none. */
const FOUR = { shape: [1], base64: Buffer.from(Float32Array.of(4).buffer).toString('base64') };
const lenientSignature: Signature = {
  ...halfSignature,
  inputs: { x: { dtype: 'float', shape: [-1], accepts: null, tensorName: 'x:0', default: FOUR } },
};

export interface GrpcMeshOptions {
  readonly settings?: Partial<GrpcSettings>;
  readonly fault?: Fault;
  readonly answerRegistry?: (question: RegistryQuestion) => RegistryAnswer;
}

export type GrpcMesh = Awaited<ReturnType<typeof startGrpcMesh>>;

/** Starts everything. `settings` are the server's; the port is any free one. */
export async function startGrpcMesh(options: GrpcMeshOptions = {}) {
  const clock = createSystemClock();
  const telemetry = createSilentTelemetry();
  const broker = createMemoryBroker();
  const transport = broker.connect();
  const id = newMemberId('gateway');
  const registry = startTestRegistry(
    broker.connect(),
    [
      routedModel('half_plus_two', [routedVersion(123, { signatures: halfSignatures })]),
      routedModel('ident', [routedVersion(3, { signatures: identSignatures }), routedVersion(1, { signatures: identSignatures })], {
        stable: 1,
        canary: 3,
      }),
      routedModel('lenient', [routedVersion(1, { signatures: { serving_default: lenientSignature } })]),
      routedModel('mlp', [routedVersion(1, { signatures: { serving_default: mlpSignature } })]),
      routedModel('loading', [routedVersion(1, { state: 'LOADING', routable: false, signatures: null })]),
    ],
    options.answerRegistry,
  );
  const stack = new AsyncDisposableStack();
  const blobs = stack.use(startBlobStore({ transport, subjects, id }));
  const routing = stack.use(startRoutingTable({ transport, subjects, clock, onTrouble: () => {} }));
  const presence = stack.use(await startPresence({ transport, subjects, clock, kind: 'gateway', id, detail: { routingRevision: 0 } }));
  // After the gateway, so that its first announcement is heard.
  const batcher = stack.use(
    await startTestBatcher({ transport: broker.connect(), clock, ...(options.fault === undefined ? {} : { fault: options.fault }) }),
  );
  const events = createGatewayEvents({
    telemetry,
    isKnown: (model) => routing.model(model) !== undefined,
    inFlight: () => client.inFlight,
    heldBytes: () => blobs.heldBytes,
  });
  const settings = { inlineTensorBytes: 65_536, maxInFlightRequests: 1000, resendAfterMs: 2000 };
  const client = stack.use(startInferClient({ transport, subjects, clock, presence, blobs, id, tracing: null, events, settings }));
  const core = createGatewayCore({ transport, subjects, routing, client, draining: () => false });
  const examples = createExamplesApi({
    core,
    methodNameCheck: options.settings?.enableSignatureMethodNameCheck ?? false,
    onAnswered: events.examplesAnswered,
  });
  await routing.whenKnown;
  await settle();
  const bugs: unknown[] = [];
  const server = stack.use(
    await startGrpcServer({
      core,
      examples,
      clock,
      events: events.grpc,
      anyPort: true,
      onBug: (caught) => bugs.push(caught),
      settings: {
        port: 0,
        grpcSocketPath: '',
        sslConfigFile: '',
        useAltsCredentials: false,
        grpcChannelArguments: '',
        grpcServer: 'headrace',
        enableSignatureMethodNameCheck: false,
        enableSerializationAsTensorContent: false,
        ...options.settings,
      },
    }),
  );
  return {
    port: server.port ?? 0,
    batcher,
    registry,
    telemetry,
    client,
    server,
    /** What went wrong that is a bug: nothing should. */
    bugs,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The outcome of a call: its response, or code and details. */
export interface Outcome {
  readonly response?: Buffer;
  readonly code: number;
  readonly details: string;
  readonly version?: string;
}

const RawClient = makeGenericClientConstructor({}, 'Raw');

/** A client that sends and receives bytes. */
export function rawClient(address: string, channelCredentials = credentials.createInsecure()): Client {
  return new RawClient(address, channelCredentials);
}

/** Calls a unary method with the bytes of its request. */
export function callRaw(client: Client, path: string, request: Uint8Array, options: { readonly deadline?: Date } = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const outcome: { version?: string } = {};
    const call = client.makeUnaryRequest(
      path,
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes,
      request,
      new Metadata(),
      options,
      (problem: ServiceError | null, response?: Buffer) => {
        if (problem) resolve({ code: problem.code, details: problem.details, ...outcome });
        else resolve({ code: 0, details: '', ...(response === undefined ? {} : { response }), ...outcome });
      },
    );
    call.on('metadata', (metadata) => {
      const [version] = metadata.get('x-headrace-model-version');
      if (version !== undefined) outcome.version = String(version);
    });
  });
}

type UnaryMethod = (request: object, callback: (problem: ServiceError | null, response: never) => void) => void;

/** Calls a method of a service as protobufjs encodes and decodes it: stubs that know nothing of our codecs. */
export function callStub<Response>(address: string, service: string, method: string, request: object): Promise<Response> {
  let scope: unknown = loadClients(loadPackageDefinition({ defaults: true }));
  for (const part of service.split('.')) scope = (scope as Record<string, unknown>)[part];
  const Constructor = scope as new (address: string, credentials: unknown) => Client;
  const stub = new Constructor(address, credentials.createInsecure());
  return new Promise<Response>((resolve, reject) => {
    const unary = (stub as unknown as Record<string, UnaryMethod>)[method];
    if (unary === undefined) throw new Error(`${service} has no method ${method}`);
    unary.call(stub, request, (problem, response) => (problem ? reject(problem) : resolve(response)));
  }).finally(() => stub.close());
}
