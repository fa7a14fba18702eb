import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { startSteadyLoad } from '../../bench/load/steady-load.ts';
import { startSteadyLoadThread } from '../../bench/load/steady-load-thread.ts';

/** Sends for a moment to a server that answers so. */
async function shotsAt(start: typeof startSteadyLoad, answer: RequestListener) {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const load = start({ port, path: '/v1/models/m:predict', body: '{"instances":[1]}', perSecond: 500 });
  const seen = await new Promise<string>((resolve) => {
    const looking = setInterval(() => {
      if (load.version === '') return;
      clearInterval(looking);
      resolve(load.version);
    }, 5);
  });
  const shots = await load.stop();
  server.closeAllConnections();
  server.close();
  return { seen, shots };
}

describe.each([
  ['in this thread', startSteadyLoad],
  ['in a thread of its own', startSteadyLoadThread],
])('%s', (_, start) => {
  test('a steady load tells which version answered, and of every request whether it was answered well', async () => {
    const startedMs = performance.now() - 1;
    let requests = 0;
    const bodies = new Set<string>();
    const { seen, shots } = await shotsAt(start, (request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += String(chunk);
      });
      request.on('end', () => {
        bodies.add(`${request.method} ${request.url} ${body}`);
        response.writeHead(++requests === 1 ? 503 : 200, { 'x-headrace-model-version': '7' }).end('{}');
      });
    });
    expect(seen).toBe('7');
    expect(bodies).toEqual(new Set(['POST /v1/models/m:predict {"instances":[1]}']));
    expect(shots.length).toBe(requests);
    expect(shots.filter(({ ok }) => !ok).length).toBe(1);
    expect(shots.every(({ sentMs, doneMs }) => sentMs >= startedMs && doneMs >= sentMs && doneMs <= performance.now() + 1)).toBe(true);
  });

  test('a connection that the server ends is a failed request', async () => {
    let requests = 0;
    const { shots } = await shotsAt(start, (_, response) => {
      if (++requests === 1) response.destroy();
      else response.writeHead(200, { 'x-headrace-model-version': '1' }).end('{}');
    });
    expect(shots.filter(({ ok }) => !ok).length).toBe(1);
  });
});
