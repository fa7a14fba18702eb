/** Calls with messages both ways, over our own HTTP/2. */
import type { ServeError } from '#mesh/errors.ts';
import type { Connection } from '../http2/connection.ts';
import { Call, type CallDeps } from './call.ts';
import type { BidiMethod, BidiStream, InStreamListener } from './port.ts';
import type { CallHead } from './request-meaning.ts';

/** One call. While it is paused the client's window stays shut, and what came before is kept. */
export class BidiCall extends Call implements BidiStream {
  readonly #method: BidiMethod;
  #listener: InStreamListener | undefined = undefined;

  constructor(deps: CallDeps, connection: Connection, id: number, head: CallHead, method: BidiMethod) {
    super(deps, connection, id, head);
    this.#method = method;
    this.mayIdle = true;
  }

  override onStart(): void {
    const listener = this.#method.handle(this);
    if (!this.ended) this.#listener = listener;
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

  pause(): void {
    this.handlerPaused = true;
    this.paused = true;
  }

  resume(): void {
    if (!this.handlerPaused) return;
    this.handlerPaused = false;
    this.connection.resumeReading(this);
    this.goOn();
  }

  override onDrain(): void {
    this.#listener?.drained();
  }

  protected take(message: Buffer): void {
    this.#listener?.message(message);
  }

  protected taken(): void {
    this.#listener?.end();
  }

  protected drop(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.cancelled();
  }
}
