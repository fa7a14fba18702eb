import { once } from 'node:events';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { callOnce, runGrpc } from '../../bench/load/grpc-load.ts';

describe('the gRPC load generator', () => {
  test('keeps as many calls in flight as it was told, and counts every answer', async () => {
    const waiting: (() => void)[] = [];
    let calls = 0;
    let most = 0;
    const release = () => {
      for (const answer of waiting.splice(0)) answer();
    };
    await using server = await serve((_, answer) => {
      calls++;
      most = Math.max(
        most,
        waiting.push(() => answer(Buffer.from('ok'))),
      );
      // Whoever comes while the first of them waits is in flight with it.
      if (waiting.length === 1) setTimeout(release, 5);
    });
    const load = { port: server.port, path: '/x.Y/Z', message: Buffer.alloc(4), connections: 1, streams: 6, seconds: 0.1 };
    const result = await runGrpc(load);
    expect(result.requests).toBe(calls);
    expect(most).toBe(6);
    expect(result.p50Ms).toBeLessThanOrEqual(result.p99Ms);
  });

  test('sends messages that are larger than a frame and, together, than the window of a connection', async () => {
    const bodies = new Set<string>();
    await using server = await serve((body, answer) => {
      bodies.add(body.toString('hex'));
      answer(Buffer.from('ok'));
    });
    const message = Buffer.alloc(40_000, 7);
    const result = await runGrpc({ port: server.port, path: '/x.Y/Z', message, connections: 2, streams: 3, seconds: 0.1 });
    expect(result.requests).toBeGreaterThan(6);
    expect([...bodies]).toEqual([Buffer.concat([Buffer.of(0, 0, 0, 0x9c, 0x40), message]).toString('hex')]);
  });

  test('refuses to give figures when an answer is an error', async () => {
    await using server = await serve((_, answer) => answer(null));
    const load = { port: server.port, path: '/x.Y/Z', message: Buffer.alloc(4), connections: 1, streams: 1, seconds: 0.2 };
    await expect(runGrpc(load)).rejects.toThrow('answered with an error');
    await expect(callOnce(server.port, '/x.Y/Z', Buffer.alloc(4))).rejects.toThrow('an error without a message');
  });

  test('gives the message of one call', async () => {
    await using server = await serve((body, answer) => answer(body.subarray(5)));
    expect((await callOnce(server.port, '/x.Y/Z', Buffer.from('hello'))).toString()).toBe('hello');
  });
});

/** A gRPC server without grpc: `null` answers with an error, as gRPC does, in trailers alone. */
async function serve(
  handle: (body: Buffer, answer: (message: Buffer | null) => void) => void,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const server: Http2Server = createServer();
  server.on('stream', (stream) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    stream.on('end', () => {
      handle(Buffer.concat(chunks), (message) => {
        if (stream.destroyed) return;
        if (message === null) {
          stream.respond({ ':status': 200, 'grpc-status': '13' }, { endStream: true });
          return;
        }
        const head = Buffer.alloc(5);
        head.writeUInt32BE(message.length, 1);
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.end(Buffer.concat([head, message]));
      });
    });
  });
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}
