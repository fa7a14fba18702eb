import { ServeError } from './errors.ts';
import type { Message, MessageHandler, Subscription, Transport } from './transport.ts';

/** The largest message of the in-memory transport. It copies nothing, so the bound only catches mistakes. */
const MAX_PAYLOAD_BYTES = 1 << 30;

/** The longest that `request` waits, in ms: 24 days, where Node's timers overflow and fire at once. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** A broker inside the process: every transport made from it sees the others' messages. */
export interface MemoryBroker {
  connect(): Transport;
}

interface Subscriber {
  readonly tokens: readonly string[];
  readonly handler: MessageHandler;
  readonly group: string | undefined;
  live: boolean;
}

/**
 * Makes an in-process broker. Messages published in one turn are delivered together in the next microtask, in order, so that a publisher
 * is never re-entered by its own message.
 */
export function createMemoryBroker(): MemoryBroker {
  const exact = new Map<string, Subscriber[]>();
  const patterns: Subscriber[] = [];
  let queue: Message[] = [];
  let scheduled = false;
  let turn = 0;
  let inboxes = 0;

  function deliverAll(): void {
    scheduled = false;
    const messages = queue;
    queue = [];
    for (const message of messages) deliver(message);
  }

  function deliver(message: Message): void {
    const matching = exact.get(message.subject) ?? [];
    let receivers: readonly Subscriber[] = matching;
    if (patterns.length > 0) {
      const tokens = message.subject.split('.');
      receivers = [...matching, ...patterns.filter((subscriber) => matches(subscriber.tokens, tokens))];
    }
    if (!receivers.some((subscriber) => subscriber.live)) {
      if (message.replyTo !== undefined && !message.noResponders) {
        deliver({ subject: message.replyTo, data: new Uint8Array(0), noResponders: true });
      }
      return;
    }
    const [only] = receivers;
    // Nearly always: one subscriber, and so nobody to choose from.
    if (receivers.length === 1 && only !== undefined) {
      only.handler(message);
      return;
    }
    const groups = new Map<string, Subscriber[]>();
    for (const subscriber of receivers.filter(({ live }) => live)) {
      if (subscriber.group === undefined) subscriber.handler(message);
      else groups.set(subscriber.group, [...(groups.get(subscriber.group) ?? []), subscriber]);
    }
    for (const members of groups.values()) members[turn++ % members.length]?.handler(message);
  }

  function enqueue(message: Message): void {
    queue.push(message);
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(deliverAll);
  }

  function connect(): Transport {
    const own = new Set<Subscriber>();
    let closed = false;

    const transport: Transport = {
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
      get connected() {
        return !closed;
      },
      publish(subject, data, options) {
        if (closed) throw new ServeError('UNAVAILABLE', 'the transport is closed');
        if (data.byteLength > MAX_PAYLOAD_BYTES) {
          throw new ServeError(
            'INVALID_ARGUMENT',
            `message of ${data.byteLength} bytes exceeds the transport's limit of ${MAX_PAYLOAD_BYTES}`,
          );
        }
        const replyTo = options?.replyTo;
        enqueue(replyTo === undefined ? { subject, data, noResponders: false } : { subject, data, replyTo, noResponders: false });
      },
      subscribe(subject, handler, options): Subscription {
        if (closed) throw new ServeError('UNAVAILABLE', 'the transport is closed');
        const subscriber: Subscriber = { tokens: subject.split('.'), handler, group: options?.group, live: true };
        const list = isPattern(subscriber.tokens) ? patterns : (exact.get(subject) ?? []);
        if (list !== patterns) exact.set(subject, list);
        list.push(subscriber);
        own.add(subscriber);
        return { [Symbol.dispose]: () => remove(subscriber, list, subject) };
      },
      request(subject, data, { timeoutMs, signal }) {
        return new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason);
          const inbox = `_inbox.${++inboxes}`;
          const timer = setTimeout(() => settle(() => reject(timedOut(subject, timeoutMs))), Math.min(timeoutMs, LONGEST_TIMEOUT_MS));
          const onAbort = () => settle(() => reject(signal?.reason));
          signal?.addEventListener('abort', onAbort, { once: true });
          const subscription = transport.subscribe(inbox, (message) =>
            settle(() => (message.noResponders ? reject(nobodyServes(subject)) : resolve(message.data))),
          );
          function settle(finish: () => void): void {
            clearTimeout(timer);
            signal?.removeEventListener('abort', onAbort);
            subscription[Symbol.dispose]();
            finish();
          }
          try {
            transport.publish(subject, data, { replyTo: inbox });
          } catch (caught) {
            settle(() => reject(caught));
          }
        });
      },
      flush: () => new Promise((resolve) => setImmediate(resolve)),
      onConnectionChange: () => ({ [Symbol.dispose]() {} }),
      async [Symbol.asyncDispose]() {
        closed = true;
        for (const subscriber of own) {
          const subject = subscriber.tokens.join('.');
          remove(subscriber, isPattern(subscriber.tokens) ? patterns : (exact.get(subject) ?? []), subject);
        }
      },
    };

    function remove(subscriber: Subscriber, list: Subscriber[], subject: string): void {
      subscriber.live = false;
      own.delete(subscriber);
      const index = list.indexOf(subscriber);
      if (index >= 0) list.splice(index, 1);
      if (list.length === 0 && list !== patterns) exact.delete(subject);
    }

    return transport;
  }

  return { connect };
}

/** The error of a question nobody is there to answer. Shared by all transports: its text is part of the contract. */
export function nobodyServes(subject: string): ServeError {
  return new ServeError('UNAVAILABLE', `nobody serves ${subject}`);
}

/** The error of a question that was not answered in time. */
export function timedOut(subject: string, timeoutMs: number): ServeError {
  return new ServeError('DEADLINE_EXCEEDED', `no answer from ${subject} within ${timeoutMs} ms`);
}

function isPattern(tokens: readonly string[]): boolean {
  return tokens.some((token) => token === '*' || token === '>');
}

function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  for (const [index, token] of pattern.entries()) {
    if (token === '>') return subject.length > index;
    if (index >= subject.length || (token !== '*' && token !== subject[index])) return false;
  }
  return pattern.length === subject.length;
}
