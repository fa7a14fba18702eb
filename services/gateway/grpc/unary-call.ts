/** Calls that take one message, over our own HTTP/2: unary ones, and those that answer with a stream. */
import { ServeError } from '#mesh/errors.ts';
import type { ByteShare } from '../byte-budget.ts';
import type { ResolvedServable } from '../core.ts';
import type { Connection } from '../http2/connection.ts';
import { OK_TRAILERS } from './answer-blocks.ts';
import { Call, type CallDeps } from './call.ts';
import type { OutStream, OutStreamEnd, ServerStreamMethod, UnaryExchange, UnaryMethod } from './port.ts';
import type { CallHead } from './request-meaning.ts';

/** Takes exactly one message. The texts are those of grpc-js, which say "server streaming" of unary methods as well. */
abstract class OneMessageCall extends Call {
  protected message: Buffer | undefined = undefined;

  protected take(message: Buffer): void {
    if (this.message !== undefined) {
      throw new ServeError('UNIMPLEMENTED', `Received a second request message for server streaming method ${this.path}`);
    }
    this.message = message;
  }

  protected taken(): void {
    if (this.message === undefined) {
      throw new ServeError('UNIMPLEMENTED', `Received no request message for server streaming method ${this.path}`);
    }
    this.run();
  }

  protected abstract run(): void;
}

/** One message in, one out. It is itself what the handler sees of it. */
export class UnaryCall extends OneMessageCall implements UnaryExchange {
  readonly #method: UnaryMethod;
  model: string | null = null;
  cancellable: { cancel(): void } | null = null;
  /** What an answer takes while the client does not. */
  #unsentShare: ByteShare | undefined = undefined;

  constructor(deps: CallDeps, connection: Connection, id: number, head: CallHead, method: UnaryMethod) {
    super(deps, connection, id, head);
    this.#method = method;
  }

  get request(): Uint8Array {
    return this.message ?? NOTHING;
  }

  reply(message: Uint8Array, servable: ResolvedServable | null): void {
    this.message = undefined;
    const { maxSendBytes, heads } = this.deps;
    if (message.length > maxSendBytes) {
      this.fail(new ServeError('RESOURCE_EXHAUSTED', `Sent message larger than max (${message.length} vs. ${maxSendBytes})`));
      return;
    }
    this.headersSent = true;
    this.connection.sendAnswer(this, heads.of(servable), message, OK_TRAILERS);
    if (this.unsent === undefined) return;
    this.#unsentShare = this.deps.budget.open();
    this.#unsentShare.add(message.length);
  }

  fail(error: ServeError): void {
    this.message = undefined;
    this.sendFailure(error);
  }

  protected run(): void {
    this.#method.handle(this);
  }

  override onDrain(): void {
    this.#unsentShare?.[Symbol.dispose]();
  }

  protected drop(): void {
    this.#unsentShare?.[Symbol.dispose]();
    this.message = undefined;
    this.cancellable?.cancel();
  }
}

/** One message in, any number out. */
export class ServerStreamCall extends OneMessageCall implements OutStream {
  readonly #method: ServerStreamMethod;
  #listener: OutStreamEnd | undefined = undefined;

  constructor(deps: CallDeps, connection: Connection, id: number, head: CallHead, method: ServerStreamMethod) {
    super(deps, connection, id, head);
    this.#method = method;
  }

  write(message: Uint8Array): boolean {
    return this.sendMessage(message);
  }

  end(): void {
    this.#listener = undefined;
    this.sendOk();
  }

  fail(error: ServeError): void {
    this.#listener = undefined;
    this.sendFailure(error);
  }

  protected run(): void {
    const request = this.message ?? NOTHING;
    this.message = undefined;
    const listener = this.#method.handle(request, this);
    if (!this.ended) this.#listener = listener;
  }

  protected drop(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.cancelled();
  }
}

const NOTHING = new Uint8Array(0);
