/** What the port promises, over every adapter: our own HTTP/2 server and grpc-js. The clients are node:http2 and grpc-js. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { deflateSync, gzipSync } from 'node:zlib';
import { type Client, Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { createGrpcJsCarrier } from '../../../services/gateway/grpc/grpc-js-carrier.ts';
import { createHeadraceCarrier } from '../../../services/gateway/grpc/headrace-carrier.ts';
import type { GrpcCarrier } from '../../../services/gateway/grpc/port.ts';
import { CHAT, createEchoService, ECHO, FAIL, HOLD, REPEAT } from '../http2/echo-service.ts';
import { message } from '../http2/wire.ts';
import { callRaw, rawClient } from './grpc-mesh.ts';

const carriers = [
  ['headrace', createHeadraceCarrier],
  ['grpc-js', createGrpcJsCarrier],
] as const;
const hello = Buffer.from('hello');
const MAX = 100_000;

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly status: number;
  readonly details: string;
  readonly body: Buffer;
}

/** Sends a body as it is and takes what comes back. */
async function post(session: ClientHttp2Session, path: string, body: readonly Buffer[], more: OutgoingHttpHeaders = {}): Promise<Answer> {
  const stream = session.request({ ':method': 'POST', ':path': path, te: 'trailers', 'content-type': 'application/grpc', ...more });
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (head) => {
    headers = head;
  });
  stream.on('trailers', (tail) => {
    trailers = tail;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  const closed = once(stream, 'close');
  for (const part of body) if (!stream.destroyed) stream.write(part);
  stream.end();
  await closed;
  const all = { ...headers, ...trailers };
  const details = decodeURIComponent(String(all['grpc-message'] ?? ''));
  return { headers, status: Number(all['grpc-status'] ?? -1), details, body: Buffer.concat(chunks) };
}

/** Resolves once `done` is true. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(carriers)('calls over %s', (name, createCarrier) => {
  const echo = createEchoService();
  const bugs: unknown[] = [];
  let carrier: GrpcCarrier;
  let port: number;
  let client: Client;
  let session: ClientHttp2Session;
  beforeAll(async () => {
    carrier = createCarrier({
      services: [echo.service],
      clock: createSystemClock(),
      tls: null,
      channelArguments: { 'grpc.max_receive_message_length': MAX, 'grpc.max_send_message_length': MAX / 2 },
      onBug: (caught) => bugs.push(caught),
    });
    port = await carrier.listen('127.0.0.1', 0);
    client = rawClient(`127.0.0.1:${port}`);
    session = connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
  });
  afterAll(async () => {
    client.close();
    session.destroy();
    await carrier.close(0);
    expect(bugs).toEqual([]);
  });

  test('are answered, with the content type, the encodings that are taken, and OK', async () => {
    const answer = await post(session, ECHO, [message(hello)]);
    expect(answer).toMatchObject({ status: 0, body: message(hello) });
    expect(answer.headers).toMatchObject({
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-accept-encoding': 'identity,deflate,gzip',
    });
  });

  test('of no bytes are answered with no bytes', async () => {
    expect(await post(session, ECHO, [message(Buffer.alloc(0))])).toMatchObject({ status: 0, body: message(Buffer.alloc(0)) });
  });

  test.each([
    ['plain', 'a/b: [1,?] not "found"'],
    ['with per cent and spaces at its end', '100 % of it '],
    ['of other scripts', 'größe 模型 \u{1f600}'],
    ['with line breaks', 'a\nb\r\n\0'],
    ['empty', ''],
  ])('fail with a text that is %s', async (_, text) => {
    expect(await post(session, FAIL, [message(Buffer.from(text))])).toMatchObject({ status: status.NOT_FOUND, details: text });
    expect(await callRaw(client, FAIL, Buffer.from(text))).toMatchObject({ code: status.NOT_FOUND, details: text });
  });

  test('fail with a text that is cut where TensorFlow Serving cuts it', async () => {
    const { details } = await post(session, FAIL, [message(Buffer.from('n'.repeat(3000)))]);
    expect(details).toBe(`${'n'.repeat(1024)}...TRUNCATED`);
  });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ])('take messages in %s', async (encoding, compress) => {
    const answer = await post(session, ECHO, [message(compress(Buffer.alloc(5000, 7)), 1)], { 'grpc-encoding': encoding });
    expect(answer.status).toBe(0);
    expect(answer.body.equals(message(Buffer.alloc(5000, 7)))).toBe(true);
    expect(await post(session, ECHO, [message(hello)], { 'grpc-encoding': encoding })).toMatchObject({ body: message(hello) });
  });

  test('take no encoding that nobody knows, nothing that is not in it, and no more than is allowed', async () => {
    const bomb = message(gzipSync(Buffer.alloc(MAX + 1)), 1);
    expect(await post(session, ECHO, [message(hello, 1)], { 'grpc-encoding': 'snappy' })).toMatchObject({
      status: status.UNIMPLEMENTED,
      details: 'Received message compressed with unsupported encoding "snappy"',
    });
    expect(await post(session, ECHO, [message(hello, 1)], { 'grpc-encoding': 'gzip' })).toMatchObject({
      status: status.INTERNAL,
      details: 'Failed to decompress message',
    });
    expect(await post(session, ECHO, [bomb], { 'grpc-encoding': 'gzip' })).toMatchObject({
      status: status.RESOURCE_EXHAUSTED,
      details: `Received message that decompresses to a size larger than ${MAX}`,
    });
  });

  test('take no request larger than allowed, and give no such answer', async () => {
    expect(await post(session, ECHO, [message(Buffer.alloc(MAX + 1))])).toMatchObject({
      status: status.RESOURCE_EXHAUSTED,
      details: `Received message larger than max (${MAX + 1} vs ${MAX})`,
    });
    const answer = await post(session, ECHO, [message(Buffer.alloc(MAX))]);
    expect(answer.status).toBe(status.RESOURCE_EXHAUSTED);
    expect(answer.details).toContain('Sent message larger than max');
  });

  test('of a method nobody offers are UNIMPLEMENTED, of another content type 415', async () => {
    expect(await post(session, '/nobody/Offers', [message(hello)])).toMatchObject({
      status: status.UNIMPLEMENTED,
      details: 'The server does not implement the method /nobody/Offers',
    });
    const { headers } = await post(session, ECHO, [message(hello)], { 'content-type': 'application/json' });
    expect(headers[':status']).toBe(415);
  });

  test('need exactly one message where the method takes one', async () => {
    expect(await post(session, ECHO, [message(hello), message(hello)])).toMatchObject({ status: status.UNIMPLEMENTED });
    expect(await post(session, ECHO, [])).toMatchObject({ status: status.UNIMPLEMENTED });
    expect((await post(session, ECHO, [message(hello).subarray(0, 7)])).status).not.toBe(0);
  });

  test('may come in any number of frames', async () => {
    const parts = Array.from(message(Buffer.from('a message in small pieces')), (byte) => Buffer.of(byte));
    expect(await post(session, ECHO, parts)).toMatchObject({ status: 0, body: Buffer.concat(parts) });
  });

  test.each(['zz', '', '5x'])('with a timeout of "%s" are INTERNAL', async (timeout) => {
    expect(await post(session, ECHO, [message(hello)], { 'grpc-timeout': timeout })).toMatchObject({
      status: status.INTERNAL,
      details: `Invalid grpc-timeout value "${timeout}"`,
    });
  });

  test('tell their handler the deadline and the trace of the client', async () => {
    const before = createSystemClock().now();
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    const asked = client.makeUnaryRequest(HOLD, copy, copy, hello, metadata, { deadline: Date.now() + 20_000 }, () => {});
    await until(() => echo.held.length > 0);
    const call = echo.held.shift();
    expect(call?.traceparent).toBe('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    expect((call?.deadlineMs ?? 0) - before).toBeGreaterThan(10_000);
    expect((call?.deadlineMs ?? 0) - before).toBeLessThan(30_000);
    asked.cancel();
    const cancelled = echo.seen.cancelled;
    await until(() => echo.seen.cancelled > cancelled);
  });

  test('end with the connection of their client', async () => {
    const other = connect(`http://127.0.0.1:${port}`);
    other.on('error', () => {});
    const ended = [post(other, HOLD, [message(hello)]), post(other, HOLD, [message(hello)])];
    await until(() => echo.held.length === 2);
    const cancelled = echo.seen.cancelled;
    other.destroy();
    await until(() => echo.seen.cancelled === cancelled + 2);
    await Promise.all(ended);
    // Too late, and harmless.
    for (const call of echo.held.splice(0)) call.reply(hello, null);
  });

  test('name the version that answered', async () => {
    const asked = post(session, HOLD, [message(hello)]);
    await until(() => echo.held.length > 0);
    const servable = { id: { name: 'm', version: 42 }, signatures: {}, batching: null, stateful: false };
    echo.held.shift()?.reply(hello, servable);
    expect((await asked).headers['x-headrace-model-version']).toBe('42');
  });

  test('that answer with a stream give every message, or their error', async () => {
    const nine = Buffer.from([9, 1]);
    expect(await post(session, REPEAT, [message(nine)])).toMatchObject({ status: 0, body: Buffer.concat(Array(9).fill(message(nine))) });
    expect(await post(session, REPEAT, [message(Buffer.of(255))])).toMatchObject({
      status: status.INVALID_ARGUMENT,
      details: 'not so often',
    });
    const stream = client.makeServerStreamRequest(REPEAT, copy, copy, Buffer.of(0));
    stream.on('error', () => {});
    const cancelled = echo.seen.cancelled;
    stream.on('metadata', () => {});
    setImmediate(() => stream.cancel());
    await new Promise((resolve) => stream.once('close', resolve).once('end', resolve).once('error', resolve).resume());
    expect(echo.seen.cancelled).toBeGreaterThanOrEqual(cancelled);
  });

  test('with messages both ways are answered one by one, in order, and end after their client', async () => {
    const stream = client.makeBidiStreamRequest(CHAT, copy, copy);
    const sent = Array.from({ length: 50 }, (_, index) => Buffer.alloc(index * 100, index));
    const got: Buffer[] = [];
    stream.on('data', (one: Buffer) => got.push(one));
    for (const one of sent) stream.write(one);
    stream.end();
    const [ended] = await once(stream, 'status');
    expect(ended).toMatchObject({ code: 0 });
    expect(got.map((one) => one.length)).toEqual(sent.map((one) => one.length));
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
  });

  test('with messages both ways answer nothing after one that failed', async () => {
    const before = echo.requests.length;
    const answer = await post(session, CHAT, [message(hello), message(Buffer.of(255)), message(hello)]);
    expect(answer).toMatchObject({ status: status.INVALID_ARGUMENT, details: 'not that', body: message(hello) });
    if (name === 'headrace') expect(echo.requests.length - before).toBe(1);
  });
});

describe.each(carriers)('%s', (name, createCarrier) => {
  const start = async () => {
    const echo = createEchoService();
    const deps = { services: [echo.service], clock: createSystemClock(), tls: null, channelArguments: {}, onBug: () => {} };
    const carrier = createCarrier(deps);
    return { echo, carrier, port: await carrier.listen('127.0.0.1', 0), deps };
  };

  test('rejects an address that is taken', async () => {
    const { carrier, port, deps } = await start();
    const second = createCarrier(deps);
    await expect(second.listen('127.0.0.1', port)).rejects.toThrow(/EADDRINUSE|No address/);
    await second.close(0);
    await carrier.close(0);
  });

  test('that closes finishes the calls that it holds, and takes no connections', async () => {
    const { echo, carrier, port } = await start();
    const client = rawClient(`127.0.0.1:${port}`);
    const asked = callRaw(client, HOLD, hello);
    await until(() => echo.held.length > 0);
    const closed = carrier.close(20_000);
    const late = connect(`http://127.0.0.1:${port}`);
    await expect(once(late, 'connect')).rejects.toThrow(/ECONNREFUSED/);
    echo.held[0]?.reply(hello, null);
    expect(await asked).toMatchObject({ code: 0, response: hello });
    await closed;
    client.close();
  });

  test('that closes waits for its calls no longer than it is told', async () => {
    const { echo, carrier, port } = await start();
    const client = rawClient(`127.0.0.1:${port}`);
    const asked = callRaw(client, HOLD, hello);
    await until(() => echo.held.length > 0);
    await carrier.close(50);
    // grpc-js leaves such calls to the end of the process.
    if (name === 'grpc-js') echo.held[0]?.reply(hello, null);
    else {
      expect((await asked).code).not.toBe(0);
      expect(echo.seen.cancelled).toBe(1);
    }
    await asked;
    client.close();
  });
});

function copy(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}
