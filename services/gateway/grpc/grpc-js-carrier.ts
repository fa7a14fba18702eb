/** Carries calls over grpc-js, gRPC's own library for Node: the second adapter of the port, for what our own server may not do yet. */
import {
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerErrorResponse,
  type ServerOptions,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import type { Clock } from '#mesh/clock.ts';
import { type ServeError, STATUS, toServeError } from '#mesh/errors.ts';
import type { ResolvedServable } from '../core.ts';
import { type ChannelArguments, messageLimits } from './channel-arguments.ts';
import {
  type BidiMethod,
  type BidiStream,
  type GrpcCarrier,
  type GrpcCarrierDeps,
  type GrpcMethod,
  type GrpcService,
  type GrpcTls,
  type OutStream,
  type ServerStreamMethod,
  type UnaryExchange,
  type UnaryMethod,
  VERSION_HEADER,
} from './port.ts';
import { statusText } from './status-text.ts';

/** Makes a carrier. */
export function createGrpcJsCarrier({ services, clock, tls, channelArguments }: GrpcCarrierDeps): GrpcCarrier {
  const server = new Server(serverOptions(channelArguments));
  const credentials = serverCredentials(tls);
  for (const service of services) addService(server, service, clock);
  const bind = (address: string) =>
    new Promise<number>((resolve, reject) => {
      server.bindAsync(address, credentials, (problem, bound) => (problem ? reject(problem) : resolve(bound)));
    });
  return {
    listen: (host, port) => bind(`${host}:${port}`),
    async listenOn(path) {
      await bind(`unix:${path}`);
    },
    close: (boundMs) =>
      new Promise((resolve) => {
        const force = clock.schedule(boundMs, () => {
          server.forceShutdown();
          // It forgets sessions that tryShutdown has begun to close, and then never calls back.
          resolve();
        });
        server.tryShutdown(() => {
          force[Symbol.dispose]();
          resolve();
        });
      }),
  };
}

function serverOptions(given: ChannelArguments): ServerOptions {
  const { maxReceiveBytes, maxSendBytes } = messageLimits(given);
  return {
    // Its figures, which nobody here can read, cost every call a few objects.
    'grpc.enable_channelz': 0,
    ...given,
    'grpc.max_receive_message_length': Number.isFinite(maxReceiveBytes) ? maxReceiveBytes : -1,
    'grpc.max_send_message_length': Number.isFinite(maxSendBytes) ? maxSendBytes : -1,
  } as ServerOptions;
}

function serverCredentials(tls: GrpcTls | null): ServerCredentials {
  if (tls === null) return ServerCredentials.createInsecure();
  return ServerCredentials.createSsl(tls.ca, [{ private_key: tls.key, cert_chain: tls.cert }], tls.requestCert);
}

function addService(server: Server, { name, methods }: GrpcService, clock: Clock): void {
  const definition: Record<string, MethodDefinition<Uint8Array, Buffer>> = {};
  const implementation: Record<string, UntypedHandleCall> = {};
  const versions = new WeakMap<ResolvedServable, Metadata>();
  for (const [method, does] of Object.entries(methods)) {
    definition[method] = {
      path: `/${name}/${method}`,
      originalName: method,
      requestStream: does.streaming === 'both',
      responseStream: does.streaming !== 'unary',
      requestSerialize: asBuffer,
      requestDeserialize: (bytes) => bytes,
      responseSerialize: asBuffer as unknown as (message: Buffer) => Buffer,
      responseDeserialize: (bytes) => bytes,
    };
    implementation[method] = handlerOf(does, clock, versions);
  }
  server.addService(definition as ServiceDefinition, implementation);
}

function handlerOf(method: GrpcMethod, clock: Clock, versions: WeakMap<ResolvedServable, Metadata>): UntypedHandleCall {
  if (method.streaming === 'unary') {
    return (call: ServerUnaryCall<Buffer, Uint8Array>, callback: sendUnaryData<Uint8Array>) =>
      handleUnary(method, call, callback, clock, versions);
  }
  if (method.streaming === 'server') return (call: ServerWritableStream<Buffer, Uint8Array>) => handleServerStream(method, call);
  return (call: ServerDuplexStream<Buffer, Uint8Array>) => handleBidi(method, call);
}

function handleUnary(
  method: UnaryMethod,
  call: ServerUnaryCall<Buffer, Uint8Array>,
  callback: sendUnaryData<Uint8Array>,
  clock: Clock,
  versions: WeakMap<ResolvedServable, Metadata>,
): void {
  const exchange: UnaryExchange = {
    request: call.request,
    deadlineMs: deadlineOf(call, clock),
    traceparent: traceparentOf(call),
    model: null,
    // Let go of with the answer: Node holds on to a finished stream, and so to what its listeners see, longer than to what it held for us.
    cancellable: null,
    reply(message, servable) {
      if (servable !== null && !call.cancelled) call.sendMetadata(versionMetadata(servable, versions));
      callback(null, message);
    },
    fail: (error) => callback(statusOf(error)),
  };
  call.on('cancelled', () => exchange.cancellable?.cancel());
  method.handle(exchange);
}

function handleServerStream(method: ServerStreamMethod, call: ServerWritableStream<Buffer, Uint8Array>): void {
  try {
    const listener = method.handle(call.request, outStream(call));
    call.once('cancelled', () => listener.cancelled());
  } catch (caught) {
    call.emit('error', statusOf(toServeError(caught)));
  }
}

function handleBidi(method: BidiMethod, call: ServerDuplexStream<Buffer, Uint8Array>): void {
  const out = outStream(call);
  const stream: BidiStream = { ...out, pause: () => call.pause(), resume: () => call.resume() };
  const guarded = (act: () => void) => {
    try {
      act();
    } catch (caught) {
      stream.fail(toServeError(caught));
    }
  };
  guarded(() => {
    const listener = method.handle(stream);
    call.on('data', (message: Buffer) => guarded(() => listener.message(message)));
    call.on('drain', () => guarded(() => listener.drained()));
    call.on('end', () => guarded(() => listener.end()));
    call.once('cancelled', () => listener.cancelled());
  });
}

function outStream(call: ServerWritableStream<Buffer, Uint8Array> | ServerDuplexStream<Buffer, Uint8Array>): OutStream {
  let ended = false;
  return {
    write: (message) => ended || call.write(message),
    end() {
      if (!ended) call.end();
      ended = true;
    },
    fail(error) {
      if (!ended) call.emit('error', statusOf(error));
      ended = true;
    },
  };
}

function versionMetadata(servable: ResolvedServable, versions: WeakMap<ResolvedServable, Metadata>): Metadata {
  let metadata = versions.get(servable);
  if (metadata === undefined) {
    metadata = new Metadata();
    metadata.set(VERSION_HEADER, String(servable.id.version));
    versions.set(servable, metadata);
  }
  return metadata;
}

function statusOf(error: ServeError): ServerErrorResponse {
  const details = statusText(error.message);
  return { name: 'ServeError', message: details, code: STATUS[error.code].number, details };
}

function deadlineOf(call: ServerUnaryCall<Buffer, Uint8Array>, clock: Clock): number {
  const deadline = call.getDeadline();
  const instant = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Number.isFinite(instant) ? clock.now() + (instant - clock.wallNow()) : Number.POSITIVE_INFINITY;
}

function traceparentOf(call: ServerUnaryCall<Buffer, Uint8Array>): string {
  const [value] = call.metadata.get('traceparent');
  return typeof value === 'string' ? value : '';
}

/** The same memory as a Buffer. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
