import { connect, type NatsConnection } from '@nats-io/transport-node';
import { ServeError } from './errors.ts';
import type { Message, Subscription, Transport } from './transport.ts';
import { LONGEST_TIMEOUT_MS, nobodyServes, timedOut } from './transport-memory.ts';

/** Where and as whom to connect. */
export interface NatsOptions {
  /** One or more servers, such as `nats://nats:4222`. */
  readonly servers: readonly string[];
  /** Shown by the server's monitoring page. */
  readonly name: string;
  /** Reported once per lost connection, slow consumer or server error. */
  readonly onTrouble: (trouble: string) => void;
}

/** How long `flush` waits for the broker. */
const FLUSH_TIMEOUT_MS = 5000;
/** What is published while the broker is away is kept up to this many bytes, then dropped: whoever needs an answer asks again. */
const MAX_OFFLINE_BYTES = 64 * 1024 * 1024;
/** The prefix of the inboxes that `request` listens on. */
const INBOX = '_HEADRACE_INBOX';

interface Question {
  readonly subject: string;
  readonly answer: (message: Message) => void;
}

/**
 * Connects to NATS (core NATS; nats-server 2.9 or newer) and keeps reconnecting for ever. Rejects with UNAVAILABLE only when the first
 * connection cannot be made within `firstConnectMs`.
 */
export async function connectNats(options: NatsOptions, firstConnectMs: number): Promise<Transport> {
  const connection = await connectFirst(options, firstConnectMs);
  const listeners = new Set<(connected: boolean) => void>();
  const questions = new Map<string, Question>();
  const inbox = `${INBOX}.${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`;
  let connected = true;
  let offlineBytes = 0;
  let asked = 0;

  const watching = watch(connection, options.onTrouble, (now) => {
    if (connected === now) return;
    connected = now;
    offlineBytes = 0;
    for (const listener of [...listeners]) listener(now);
  });

  const transport: Transport = {
    get maxPayloadBytes() {
      return connection.info?.max_payload ?? 1024 * 1024;
    },
    get connected() {
      return connected && !connection.isClosed();
    },
    publish(subject, data, publishOptions) {
      if (connection.isClosed()) throw new ServeError('UNAVAILABLE', 'the NATS connection is closed');
      if (data.byteLength > transport.maxPayloadBytes) {
        throw new ServeError(
          'INVALID_ARGUMENT',
          `message of ${data.byteLength} bytes exceeds the transport's limit of ${transport.maxPayloadBytes}`,
        );
      }
      if (!connected) {
        offlineBytes += data.byteLength;
        if (offlineBytes > MAX_OFFLINE_BYTES) return;
      }
      connection.publish(subject, data, publishOptions?.replyTo === undefined ? {} : { reply: publishOptions.replyTo });
    },
    subscribe(subject, handler, subscribeOptions): Subscription {
      const subscription = connection.subscribe(subject, {
        ...(subscribeOptions?.group === undefined ? {} : { queue: subscribeOptions.group }),
        callback: (problem, message) => {
          if (problem) {
            options.onTrouble(`subscription ${subject}: ${problem.message}`);
            return;
          }
          const noResponders = message.data.byteLength === 0 && message.headers?.code === 503;
          handler({ subject: message.subject, data: message.data, noResponders, ...(message.reply ? { replyTo: message.reply } : {}) });
        },
      });
      return { [Symbol.dispose]: () => subscription.unsubscribe() };
    },
    request(subject, data, { timeoutMs, signal }) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const replyTo = `${inbox}.${(++asked).toString(36)}`;
        const settle = (finish: () => void) => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          questions.delete(replyTo);
          finish();
        };
        const timer = setTimeout(() => settle(() => reject(timedOut(subject, timeoutMs))), Math.min(timeoutMs, LONGEST_TIMEOUT_MS));
        const onAbort = () => settle(() => reject(signal?.reason));
        signal?.addEventListener('abort', onAbort, { once: true });
        questions.set(replyTo, {
          subject,
          answer: (message) => settle(() => (message.noResponders ? reject(nobodyServes(subject)) : resolve(message.data))),
        });
        try {
          transport.publish(subject, data, { replyTo });
        } catch (caught) {
          settle(() => reject(caught));
        }
      });
    },
    async flush() {
      const bound = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), FLUSH_TIMEOUT_MS).unref());
      if ((await Promise.race([connection.flush(), bound])) === 'late') {
        throw new ServeError('UNAVAILABLE', `NATS did not answer within ${FLUSH_TIMEOUT_MS} ms`);
      }
    },
    onConnectionChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    async [Symbol.asyncDispose]() {
      listeners.clear();
      for (const { subject, answer } of [...questions.values()]) answer({ subject, data: new Uint8Array(0), noResponders: true });
      if (connected && !connection.isClosed()) await connection.drain();
      else await connection.close();
      await watching;
    },
  };
  transport.subscribe(`${inbox}.*`, (message) => questions.get(message.subject)?.answer(message));
  return transport;
}

/** Tries until the bound: a fleet's containers start in any order. */
async function connectFirst(options: NatsOptions, boundMs: number): Promise<NatsConnection> {
  const started = performance.now();
  for (;;) {
    try {
      return await connect({
        servers: [...options.servers],
        name: options.name,
        timeout: Math.max(500, Math.min(5000, boundMs)),
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 100,
        pingInterval: 5000,
        maxPingOut: 2,
      });
    } catch (caught) {
      if (performance.now() - started > boundMs) {
        throw new ServeError('UNAVAILABLE', `no NATS server answers at ${options.servers.join(', ')}`, { cause: caught });
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

async function watch(
  connection: NatsConnection,
  onTrouble: (trouble: string) => void,
  onConnected: (connected: boolean) => void,
): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'disconnect') onConnected(false);
    else if (status.type === 'reconnect') onConnected(true);
    if (status.type === 'disconnect' || status.type === 'error' || status.type === 'slowConsumer' || status.type === 'staleConnection') {
      onTrouble(`${status.type}${'error' in status ? `: ${String(status.error)}` : ''}`);
    }
  }
}
