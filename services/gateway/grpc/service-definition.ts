import type { MethodDefinition, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';

/** A service ready to be added to a server. */
export interface GrpcService {
  /** Its full name. */
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** How a method streams. */
export type Streaming = 'unary' | 'server' | 'both';

/** A grpc-js service whose messages stay bytes: the handlers read and write them with the codecs of `proto/`. */
export function rawService(name: string, methods: Readonly<Record<string, Streaming>>): ServiceDefinition {
  const definition: Record<string, MethodDefinition<Uint8Array, Buffer>> = {};
  for (const [method, streaming] of Object.entries(methods)) {
    definition[method] = {
      path: `/${name}/${method}`,
      originalName: method,
      requestStream: streaming === 'both',
      responseStream: streaming !== 'unary',
      requestSerialize: asBuffer,
      requestDeserialize: (bytes) => bytes,
      responseSerialize: asBuffer as unknown as (message: Buffer) => Buffer,
      responseDeserialize: (bytes) => bytes,
    };
  }
  return definition as ServiceDefinition;
}

/** The same memory as a Buffer. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
