/**
 * The port between gRPC's services and whatever carries their calls: our own server over `http2/`, or grpc-js. Messages are bytes; handlers read
 * and write them with the codecs of `proto/`.
 */
import type { Clock } from '#mesh/clock.ts';
import type { ServeError } from '#mesh/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { ResolvedServable } from '../core.ts';

/** A service: what its methods are called and do. */
export interface GrpcService {
  /** Its full name. */
  readonly name: string;
  readonly methods: Readonly<Record<string, GrpcMethod>>;
}

/** A method and how it streams. */
export type GrpcMethod = UnaryMethod | ServerStreamMethod | BidiMethod;

/** One message in, one message or an error out. */
export interface UnaryMethod {
  readonly streaming: 'unary';
  /** Called once the request is complete. Never throws. */
  handle(call: UnaryExchange): void;
}

/** One message in, messages out until the handler ends them. */
export interface ServerStreamMethod {
  readonly streaming: 'server';
  /** Called once the request is complete. What it throws ends the call. */
  handle(request: Uint8Array, call: OutStream): OutStreamEnd;
}

/** Messages both ways. */
export interface BidiMethod {
  readonly streaming: 'both';
  /** Called with the head of the call. */
  handle(call: BidiStream): InStreamListener;
}

/** A unary call as the adapter holds it. Of `reply` and `fail` one is called, once; both do nothing when the client has gone. */
export interface UnaryExchange {
  /** The request message. */
  readonly request: Uint8Array;
  /** The client's deadline as an instant on the gateway's Clock; Infinity: none. */
  readonly deadlineMs: number;
  /** The client's W3C traceparent; empty without one. */
  readonly traceparent: string;
  /** For the metrics: the name of the model, written as soon as it is known. */
  model: string | null;
  /** Called when the client goes before it is answered. The handler writes it; null: nothing to cancel. */
  cancellable: { cancel(): void } | null;
  /** Answers. The version of `servable` goes into the initial metadata; null: none answered. */
  reply(message: Uint8Array, servable: ResolvedServable | null): void;
  fail(error: ServeError): void;
}

/** The answering side of a stream. Calls after its end do nothing. */
export interface OutStream {
  /** Sends a message. False: it has to wait, as will those after it. */
  write(message: Uint8Array): boolean;
  /** Ends the call well. */
  end(): void;
  fail(error: ServeError): void;
}

/** Who hears of the end of a stream that the client ends. */
export interface OutStreamEnd {
  /** The client has gone. */
  cancelled(): void;
}

/** Both sides of a stream. */
export interface BidiStream extends OutStream {
  /** No messages from here on, until `resume`. */
  pause(): void;
  resume(): void;
}

/** Who hears what the client sends. What these throw ends the call. */
export interface InStreamListener extends OutStreamEnd {
  message(message: Uint8Array): void;
  /** The client sends nothing more. */
  end(): void;
  /** What had to wait has been sent. */
  drained(): void;
}

/** A server that carries calls to services. */
export interface GrpcCarrier {
  /** Listens on `host:port`, any free port for 0. Resolves with the port; rejects with the system's error. */
  listen(host: string, port: number): Promise<number>;
  /** Listens on a unix socket as well. */
  listenOn(socketPath: string): Promise<void>;
  /** Takes no new calls, lets those under way end for `boundMs` at most, and closes. */
  close(boundMs: number): Promise<void>;
}

/** What a carrier runs on. */
export interface GrpcCarrierDeps {
  readonly services: readonly GrpcService[];
  readonly clock: Clock;
  /** Null: no TLS. */
  readonly tls: GrpcTls | null;
  /** `--grpc_channel_arguments`, as `channelArguments` reads them. */
  readonly channelArguments: Readonly<Record<string, string | number>>;
  /** What large messages and answers may take of the gateway's memory. grpc-js does not count them. */
  readonly budget?: ByteBudget;
  /** Something went wrong that is a bug. */
  readonly onBug: (caught: unknown) => void;
}

/** PEM texts of a server, and whether clients must have a certificate. */
export interface GrpcTls {
  readonly key: Buffer;
  readonly cert: Buffer;
  /** Who signs the certificates of clients; null: the usual authorities. */
  readonly ca: Buffer | null;
  readonly requestCert: boolean;
}

/** The initial metadata that names the version that answered. */
export const VERSION_HEADER = 'x-headrace-model-version';
