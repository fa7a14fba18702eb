import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Telemetry } from './telemetry.ts';

/** A small HTTP server for probes and Prometheus: `/healthz` (the process answers), `/readyz` (200 or 503), `/metrics`. */
export interface MonitoringServer extends AsyncDisposable {
  readonly port: number;
}

/** Starts listening on all interfaces; port 0 picks a free one. Rejects when the port is taken. */
export async function startMonitoringServer(options: {
  readonly port: number;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
}): Promise<MonitoringServer> {
  const server = createServer(async (request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') response.writeHead(200).end('ok\n');
    else if (path === '/readyz') {
      const ready = options.ready();
      response.writeHead(ready ? 200 : 503).end(ready ? 'ready\n' : 'not ready\n');
    } else if (path === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain' }).end(await options.telemetry.metrics.metrics());
    } else response.writeHead(404).end();
  });
  server.listen(options.port);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : options.port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
