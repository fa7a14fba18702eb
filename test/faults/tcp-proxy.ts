import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';

/** What a proxy does with its connections. `cut`: closes them and takes no new ones; `silent`: keeps them and passes no byte. */
export type ProxyMode = 'open' | 'cut' | 'silent';

/** Stands between a process and a server, so that a partition between just those two can be had. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  set(mode: ProxyMode): void;
}

/** Starts a proxy in front of a port of this machine. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: ProxyMode = 'open';
  const server = createServer((near) => {
    if (mode === 'cut') {
      near.destroy();
      return;
    }
    const far = createConnection(targetPort, '127.0.0.1');
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => mode === 'open' && from.resume());
      from.on('error', () => {});
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    if (mode === 'silent') for (const socket of pair) socket.pause();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      mode = next;
      for (const pair of pairs) {
        for (const socket of pair) {
          if (next === 'cut') socket.destroy();
          else if (next === 'silent') socket.pause();
          else socket.resume();
        }
      }
    },
    async [Symbol.asyncDispose]() {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
