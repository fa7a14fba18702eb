/**
 * How services talk: publish and subscribe on subjects, and one-to-one questions. The contract, which `test/contract/transport.contract.ts`
 * holds every implementation to:
 *
 * - Subjects are dot-separated tokens of letters, digits, `-` and `_`. Subscriptions may use `*` for one token and `>` for the rest.
 * - Messages from one publisher on one subject arrive in order, at most once each. There is no delivery promise: whoever needs an answer
 *   asks again.
 * - A handler runs synchronously on arrival, must not throw, and must not keep `message.data` beyond its own return without `copyBytes`
 *   unless it owns all of it (the bytes may be a view into a larger receive buffer; they are never overwritten while referenced).
 * - `publish` throws ServeError INVALID_ARGUMENT when the data exceeds `maxPayloadBytes`, and never blocks.
 * - `publish` may hand the bytes on without a copy: the publisher must not change them afterwards.
 */
export interface Transport extends AsyncDisposable {
  /** The largest message, in bytes. */
  readonly maxPayloadBytes: number;
  /** False while the connection to the broker is down; publishes are then buffered for a while or dropped. */
  readonly connected: boolean;
  /** Sends to all subscribers. With `options.replyTo`, a subject nobody subscribes to is reported there as a message with `noResponders`. */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): void;
  /** Delivers messages to `handler` until disposed. Subscribers that name the same `group` share the messages: each goes to one of them. */
  subscribe(subject: string, handler: MessageHandler, options?: { readonly group?: string }): Subscription;
  /**
   * Sends a question and waits for one answer. Rejects with UNAVAILABLE at once when nobody subscribes to the subject, DEADLINE_EXCEEDED
   * after `timeoutMs`, and the signal's reason when it aborts. For control traffic: the request path uses `publish` and an inbox of its own.
   */
  request(subject: string, data: Uint8Array, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Uint8Array>;
  /** Resolves when everything published and subscribed so far has reached the broker. Rejects UNAVAILABLE when it does not within 5 s. */
  flush(): Promise<void>;
  /** Calls `listener` with true after every reconnect and false when the connection is lost. */
  onConnectionChange(listener: (connected: boolean) => void): Disposable;
}

/** How a message is published. */
export interface PublishOptions {
  /** Where answers, and the news that nobody listens, should go. */
  readonly replyTo?: string;
}

/** A message as it arrives. */
export interface Message {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Where to answer; absent when the publisher wants none. */
  readonly replyTo?: string;
  /** True for the transport's own news that a publish with this subject as `replyTo` reached nobody; `data` is then empty. */
  readonly noResponders: boolean;
}

/** Takes a message; synchronous, and must not throw. */
export type MessageHandler = (message: Message) => void;

/** A live subscription. Disposing it stops delivery at once. */
export interface Subscription extends Disposable {}

/** Copies bytes out of whatever buffer they are a view of. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes);
}
