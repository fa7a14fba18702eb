import { connect, type Socket } from 'node:net';

/** One answered (or failed) request of a steady load. */
export interface Shot {
  /** When it was sent, on performance.now()'s clock. Sending waits for no answer, so a server that stalls cannot hide by slowing the load down. */
  readonly sentMs: number;
  readonly doneMs: number;
  readonly ok: boolean;
  /** The version that answered, from `x-headrace-model-version`; empty without one. */
  readonly version: string;
}

/** Whom a steady load asks, what, and how often. */
export interface SteadyLoadOptions {
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly perSecond: number;
}

/** A load that sends at fixed instants, whatever comes back. */
export interface SteadyLoad {
  /** The version that answered last; empty before. */
  readonly version: string;
  /** Sends no more, waits for what is under way and gives all shots. */
  stop(): Promise<readonly Shot[]>;
}

/** A connection and the answer it is reading; one request at a time. */
interface Connection {
  readonly socket: Socket;
  shot: { readonly sentMs: number; readonly settled: () => void } | undefined;
}

/** Connections that may be open at once: a server that falls behind by more has failed. */
const MAX_CONNECTIONS = 512;
const ANSWER_WITHIN_MS = 10_000;

/**
 * Sends `perSecond` POST requests a second to `http://127.0.0.1:port/path` until stopped. It writes HTTP itself, because a client that costs as
 * much as the server would have its own stalls measured. An answer must fit one read, which a few hundred bytes do.
 */
export function startSteadyLoad(load: SteadyLoadOptions): SteadyLoad {
  const request = Buffer.from(
    `POST ${load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(load.body)}\r\n\r\n${load.body}`,
  );
  const shots: Shot[] = [];
  const free: Connection[] = [];
  const open = new Set<Connection>();
  const underWay = new Set<Promise<void>>();

  function openConnection(): Connection {
    const socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true });
    const connection: Connection = { socket, shot: undefined };
    open.add(connection);
    socket.on('data', (chunk: Buffer) => settle(connection, chunk.toString('latin1')));
    socket.on('error', () => settle(connection, ''));
    socket.on('close', () => {
      open.delete(connection);
      if (free.includes(connection)) free.splice(free.indexOf(connection), 1);
      settle(connection, '');
    });
    socket.setTimeout(ANSWER_WITHIN_MS, () => {
      if (connection.shot !== undefined) socket.destroy();
    });
    return connection;
  }

  function settle(connection: Connection, answer: string): void {
    const { shot } = connection;
    if (shot === undefined) return;
    connection.shot = undefined;
    const version = /\r\nx-headrace-model-version: *(\d+)/i.exec(answer)?.[1] ?? '';
    shots.push({ sentMs: shot.sentMs, doneMs: performance.now(), ok: answer.startsWith('HTTP/1.1 200 '), version });
    if (!connection.socket.destroyed) free.push(connection);
    shot.settled();
  }

  function shoot(): void {
    const connection = free.pop() ?? (open.size < MAX_CONNECTIONS ? openConnection() : undefined);
    const sentMs = performance.now();
    if (connection === undefined) {
      shots.push({ sentMs, doneMs: sentMs, ok: false, version: '' });
      return;
    }
    const answered = new Promise<void>((settled) => {
      connection.shot = { sentMs, settled };
      connection.socket.write(request);
    });
    underWay.add(answered);
    void answered.then(() => underWay.delete(answered));
  }

  const startedMs = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedMs) * load.perSecond) / 1000);
    for (; sent < due; sent++) shoot();
  }, 1);
  return {
    get version() {
      return shots.at(-1)?.version ?? '';
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      for (const { socket } of open) socket.destroy();
      return shots;
    },
  };
}
