/** Sockets under HTTP/2 connections: plain TCP and unix sockets where the client knows what we speak, TLS with ALPN. */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Clock, Timer } from '#mesh/clock.ts';
import { Connection, type ConnectionHost } from './connection.ts';
import { ScratchPool } from './frame-writer.ts';
import type { HeaderList } from './hpack-decoder.ts';
import { type Http2Limits, tickMs } from './limits.ts';
import type { ServerStream } from './stream.ts';

/** What runs on the connections, and how they are made. */
export interface Http2ListenerDeps {
  readonly clock: Clock;
  readonly limits: Http2Limits;
  /** Null: no TLS. */
  readonly tls: TlsOptions | null;
  /** See `ConnectionHost`. */
  readonly readHead: (list: HeaderList) => unknown;
  readonly open: (connection: Connection, id: number, head: unknown) => ServerStream;
  /** A bug that a connection ended by. */
  readonly onBug: (caught: unknown) => void;
}

/** Where to listen. */
export type Http2Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** Listens, and keeps the connections. */
export interface Http2Listener {
  /** Listens on one more address. Resolves with its port, or null for a unix socket; rejects with the system's error. */
  listen(address: Http2Address): Promise<number | null>;
  /** Takes no new connections, asks those there are to leave, and resolves when the last has gone or after `boundMs`. */
  drain(boundMs: number): Promise<void>;
  /** Connections that are open. */
  readonly connectionCount: number;
}

/** How long a TLS handshake may take. */
const HANDSHAKE_MS = 10_000;

/** Makes a listener that listens nowhere yet. */
export function createHttp2Listener({ clock, limits, tls, readHead, open, onBug }: Http2ListenerDeps): Http2Listener {
  const servers: Server[] = [];
  // Connections come and go seldom enough for a Set (see `id-table.ts`).
  const connections = new Set<Connection>();
  let unflushed: Connection[] = [];
  let timer: Timer | undefined;
  let tickedMs = 0;
  let draining = false;
  let onEmpty: (() => void) | undefined;
  const everyMs = tickMs(limits);

  const host: ConnectionHost = {
    readHead,
    open,
    flushLater(connection) {
      if (unflushed.length === 0) setImmediate(flushAll);
      unflushed.push(connection);
    },
    now: () => clock.now(),
    limits,
    scratch: new ScratchPool(),
  };

  function flushAll(): void {
    const due = unflushed;
    unflushed = [];
    for (const connection of due) guarded(connection, flush);
  }

  /** A bug ends the connection that it shows on, and no other. */
  function guarded(connection: Connection, act: (connection: Connection) => void): void {
    try {
      act(connection);
    } catch (caught) {
      onBug(caught);
      connection.destroy();
    }
  }

  function tick(): void {
    timer = undefined;
    const nowMs = clock.now();
    for (const connection of connections) guarded(connection, () => connection.tick(nowMs, nowMs - tickedMs));
    tickLater(nowMs);
  }

  function tickLater(nowMs: number): void {
    if (connections.size === 0 || timer !== undefined) return;
    tickedMs = nowMs;
    timer = clock.schedule(everyMs, tick);
  }

  function accept(socket: Socket | TLSSocket): void {
    const connection = new Connection(host, socket);
    connections.add(connection);
    tickLater(clock.now());
    socket.on('data', (chunk: Buffer) => {
      try {
        connection.receive(chunk);
      } catch (caught) {
        onBug(caught);
      }
    });
    socket.on('drain', () => guarded(connection, drain));
    // What went wrong is the client's affair; 'close' follows.
    socket.on('error', () => {});
    socket.on('end', () => connection.destroy());
    socket.on('close', () => {
      connection.gone();
      connections.delete(connection);
      if (connections.size === 0) onEmpty?.();
    });
    if (draining) connection.destroy();
  }

  function makeServer(): Server {
    if (tls === null) return createServer({ noDelay: true, keepAlive: true }, accept);
    const server = createTlsServer({ ...tls, ALPNProtocols: ['h2'], handshakeTimeout: HANDSHAKE_MS, noDelay: true } as TlsOptions);
    server.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      // A client that negotiates nothing may speak anything.
      if (socket.alpnProtocol === 'h2') accept(socket);
      else socket.destroy();
    });
    server.on('tlsClientError', (_, socket) => socket.destroy());
    return server;
  }

  return {
    listen(address) {
      const server = makeServer();
      servers.push(server);
      return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(address, () => {
          server.off('error', reject);
          // Such as too many open files: the server goes on.
          server.on('error', () => {});
          const bound = server.address();
          resolve(bound !== null && typeof bound === 'object' ? bound.port : null);
        });
      });
    },
    async drain(boundMs) {
      draining = true;
      for (const server of servers) server.close();
      for (const connection of connections) connection.leave();
      if (connections.size > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        onEmpty = resolve;
        using _bound = clock.schedule(boundMs, resolve);
        await promise;
      }
      for (const connection of connections) connection.destroy();
      timer?.[Symbol.dispose]();
    },
    get connectionCount() {
      return connections.size;
    },
  };
}

function flush(connection: Connection): void {
  connection.flush();
}

function drain(connection: Connection): void {
  connection.drain();
}
