/** Our server on real sockets: large messages, TLS, node:http2 and raw clients. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { createHeadraceCarrier } from '../../../services/gateway/grpc/headrace-carrier.ts';
import type { GrpcTls } from '../../../services/gateway/grpc/port.ts';
import { callRaw, rawClient } from '../grpc/grpc-mesh.ts';
import { createEchoService, ECHO } from './echo-service.ts';
import { FRAME, frame, message, NO_BYTES, PREFACE, unaryCall } from './wire.ts';

const LARGE = 100_000_000;

async function start(options: { readonly tls?: GrpcTls; readonly channelArguments?: Readonly<Record<string, number>> } = {}) {
  const echo = createEchoService();
  const bugs: unknown[] = [];
  const carrier = createHeadraceCarrier({
    services: [
      {
        ...echo.service,
        methods: { ...echo.service.methods, Echo: { streaming: 'unary', handle: (call) => call.reply(call.request, null) } },
      },
    ],
    clock: createSystemClock(),
    tls: options.tls ?? null,
    channelArguments: options.channelArguments ?? {},
    onBug: (caught) => bugs.push(caught),
  });
  const port = await carrier.listen('127.0.0.1', 0);
  return {
    port,
    bugs,
    carrier,
    async [Symbol.asyncDispose]() {
      await carrier.close(0);
      expect(bugs).toEqual([]);
    },
  };
}

/** Bytes of buffers that something still holds. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().arrayBuffers;
}

/** What a socket gives until it closes or is silent for `quietMs`. */
function collect(socket: Socket, quietMs = 300): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const finish = () => {
      socket.destroy();
      resolve(Buffer.concat(chunks));
    };
    socket.setTimeout(quietMs, finish);
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', finish);
  });
}

describe('a listener', () => {
  test('carries 100 MB both ways while it holds less than two of the message', async () => {
    await using server = await start();
    const session = connectHttp2(`http://127.0.0.1:${server.port}`, { settings: { initialWindowSize: 2 ** 20 } });
    const stream = session.request({ ':method': 'POST', ':path': ECHO, 'content-type': 'application/grpc', te: 'trailers' });
    const piece = Buffer.alloc(1_000_000, 5);
    const base = heldBytes();
    stream.write(message(NO_BYTES, 0, LARGE));
    for (let sent = 0; sent < LARGE; sent += piece.length) {
      if (!stream.write(piece)) await once(stream, 'drain');
    }
    const [head] = await Promise.all([once(stream, 'response'), new Promise<void>((resolve) => stream.end(resolve))]);
    expect(head[0]).toMatchObject({ ':status': 200 });
    // The client takes nothing yet: the answer waits for its window, and nobody has copied it.
    const held = [heldBytes() - base];
    let got = 0;
    let wrong = 0;
    let asked = false;
    stream.on('data', (chunk: Buffer) => {
      if (got > 5 && chunk[chunk.length - 1] !== 5) wrong++;
      got += chunk.length;
      if (asked || got < LARGE / 2) return;
      asked = true;
      held.push(heldBytes() - base);
    });
    const [trailers] = await once(stream, 'trailers');
    if (!stream.closed) await once(stream, 'close');
    session.destroy();
    expect([got, wrong, trailers['grpc-status']]).toEqual([LARGE + 5, 0, '0']);
    // Client and server are in this process: the message, and buffers of both, of which some are still being freed in the background.
    expect(held).toHaveLength(2);
    for (const bytes of held) expect(bytes).toBeLessThan(LARGE * 1.9);
  }, 60_000);

  test('carries many calls of many clients at once', async () => {
    await using server = await start();
    const clients = Array.from({ length: 8 }, () => rawClient(`127.0.0.1:${server.port}`));
    const sizes = Array.from({ length: 400 }, (_, index) => (index * 7919) % 70_000);
    const outcomes = await Promise.all(
      sizes.map((size, index) => callRaw(clients[index % clients.length] ?? rawClient(''), ECHO, Buffer.alloc(size, index))),
    );
    for (const [index, { response, code }] of outcomes.entries()) {
      expect(code).toBe(0);
      expect(response?.equals(Buffer.alloc(sizes[index] ?? 0, index))).toBe(true);
    }
    for (const client of clients) client.close();
  });

  test('takes any header that a foreign client compresses', async () => {
    await using server = await start();
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    const odd = String.fromCharCode(
      ...Array.from({ length: 94 }, (_, index) => 0x21 + index),
      ...Array.from({ length: 96 }, (_, index) => 0xa0 + index),
    );
    for (let round = 0; round < 200; round++) {
      const more = { 'x-odd': odd, [`x-${round % 90}`]: `${'v'.repeat(round)}${round}`, 'grpc-timeout': `${1000 + round}m` };
      const stream = session.request({ ':method': 'POST', ':path': ECHO, 'content-type': 'application/grpc', te: 'trailers', ...more });
      stream.end(message(Buffer.from('x')));
      stream.resume();
      const [trailers] = await once(stream, 'trailers');
      expect(trailers['grpc-status']).toBe('0');
    }
    session.destroy();
  });

  test('serves a unix socket', async () => {
    await using server = await start();
    const folder = mkdtempSync(join(tmpdir(), 'headrace-'));
    await server.carrier.listenOn(join(folder, 's'));
    const client = rawClient(`unix:${join(folder, 's')}`);
    expect(await callRaw(client, ECHO, Buffer.from('x'))).toMatchObject({ code: 0 });
    client.close();
    rmSync(folder, { recursive: true });
  });

  test('forgets a client that vanishes in the middle, and serves the next', async () => {
    await using server = await start();
    for (let cut = 1; cut < 120; cut += 7) {
      const socket = connectTcp(server.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(
        Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES), unaryCall(1, ECHO, Buffer.from('hello'))]).subarray(0, cut),
      );
      if (cut % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    const client = rawClient(`127.0.0.1:${server.port}`);
    expect(await callRaw(client, ECHO, Buffer.from('x'))).toMatchObject({ code: 0 });
    client.close();
  });

  test('answers HTTP/1.1 so that its client can read it', async () => {
    await using server = await start();
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/models/m`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('gRPC over HTTP/2');
  });

  test('closes a connection that is idle for as long as grpc.max_connection_idle_ms says', async () => {
    await using server = await start({ channelArguments: { 'grpc.max_connection_idle_ms': 50 } });
    const socket = connectTcp(server.port, '127.0.0.1');
    socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES)]));
    const closed = once(socket, 'close');
    socket.resume();
    await closed;
  });

  test('refuses channel arguments that cannot be meant', async () => {
    await expect(start({ channelArguments: { 'grpc.max_concurrent_streams': 0 } })).rejects.toThrow(/grpc\.max_concurrent_streams=0/);
  });
});

describe('a listener with TLS', () => {
  let folder: string;
  let tls: GrpcTls;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'headrace-'));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert];
    execFileSync('openssl', [...args, '-days', '1', ...subject], { stdio: 'ignore' });
    tls = { key: readFileSync(key), cert: readFileSync(cert), ca: null, requestCert: false };
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('speaks HTTP/2 to who asks for it by ALPN', async () => {
    await using server = await start({ tls });
    const session = connectHttp2(`https://localhost:${server.port}`, { ca: tls.cert });
    const stream = session.request({ ':method': 'POST', ':path': ECHO, 'content-type': 'application/grpc', te: 'trailers' });
    const body = Buffer.alloc(3_000_000, 9);
    stream.end(message(body));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(stream, 'end');
    expect(Buffer.concat(chunks).equals(message(body))).toBe(true);
    session.destroy();
  });

  test.each([
    ['nothing', undefined],
    ['HTTP/1.1 only', ['http/1.1']],
  ])('closes on who asks for %s, and on who speaks in the clear', async (_, ALPNProtocols) => {
    await using server = await start({ tls });
    const socket = connectTls({
      port: server.port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: tls.cert,
      ...(ALPNProtocols ? { ALPNProtocols } : {}),
    });
    expect(await collect(socket, 5000)).toEqual(NO_BYTES);
    const clear = connectTcp(server.port, '127.0.0.1');
    clear.write(PREFACE);
    expect((await collect(clear, 5000)).includes('HTTP')).toBe(false);
  });
});
