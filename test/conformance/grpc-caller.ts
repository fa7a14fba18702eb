import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { loadPackageDefinition } from '#proto/load.ts';

/** What came back from a call: bytes, or a status. */
export type GrpcAnswer = { readonly code: string; readonly details: string } | { readonly code: 'OK'; readonly response: Buffer };

/** A gRPC client of bytes, which decodes with our .proto files only to look at what came. */
export class GrpcCaller {
  readonly #client: Client;
  readonly #definitions: PackageDefinition = loadPackageDefinition();

  /** Of a server on this machine. */
  constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  }

  /** Never rejects. `method` is a path such as `/tensorflow.serving.PredictionService/Predict`. */
  call(method: string, request: Uint8Array): Promise<GrpcAnswer> {
    const asIs = (bytes: Buffer) => bytes;
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(method, asIs, asIs, Buffer.from(request), (error: ServiceError | null, response?: Buffer) => {
        if (error || response === undefined) resolve({ code: codeName(error?.code ?? status.UNKNOWN), details: error?.details ?? '' });
        else resolve({ code: 'OK', response });
      });
    });
  }

  /** A response as an object; an Any is decoded into its SignatureDefMap. */
  decode(method: string, bytes: Buffer): unknown {
    const [, service = '', rpc = ''] = method.split('/');
    const definition = this.#definitions[service];
    if (definition === undefined || !('Predict' in definition || 'GetModelStatus' in definition)) throw new Error(`no service ${service}`);
    const decoded = (definition as Record<string, { responseDeserialize(bytes: Buffer): unknown }>)[rpc]?.responseDeserialize(bytes);
    const withMetadata = decoded as { metadata?: Record<string, { value: Buffer; type_url: string }> };
    if (!withMetadata.metadata) return decoded;
    const map = this.#definitions['tensorflow.serving.SignatureDefMap'] as unknown as { deserialize(bytes: Buffer): unknown };
    return {
      ...withMetadata,
      metadata: Object.fromEntries(
        Object.entries(withMetadata.metadata).map(([key, any]) => [key, { type: any.type_url, value: map.deserialize(any.value) }]),
      ),
    };
  }

  close(): void {
    this.#client.close();
  }
}

function codeName(number: number): string {
  return Object.entries(status).find(([, value]) => value === number)?.[0] ?? String(number);
}
