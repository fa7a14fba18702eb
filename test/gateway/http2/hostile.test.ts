/** Clients that mean harm, or are broken: each meets a bound, and is told which. */
import { describe, expect, test } from '@jest/globals';
import { ERROR } from '../../../services/gateway/http2/protocol.ts';
import { CHAT, ECHO, HOLD } from './echo-service.ts';
import {
  callHeaders,
  FLAG,
  FRAME,
  frame,
  headerBlock,
  MORE,
  message,
  NO_BYTES,
  number31,
  openWire,
  PREFACE,
  settings,
  unaryCall,
  type Wire,
} from './wire.ts';

const hello = Buffer.from('hello');
const open = (stream: number, path = HOLD) => frame(FRAME.headers, FLAG.endHeaders, stream, callHeaders(path));
const reset = (stream: number) => frame(FRAME.rstStream, 0, stream, number31(ERROR.cancel));

/** Sends until the server has had enough; how often that was. */
function until(wire: Wire, most: number, next: (count: number) => Buffer): number {
  let count = 0;
  while (count < most && wire.goAway === undefined) wire.send(next(count++));
  return count;
}

describe('a client that keeps us busy', () => {
  test.each<[string, number, (count: number) => Buffer]>([
    ['opens streams and resets them', 2500, (count) => Buffer.concat([open(2 * count + 1), reset(2 * count + 1)])],
    [
      'makes us reset its streams',
      2500,
      (count) => Buffer.concat([open(2 * count + 1), frame(FRAME.windowUpdate, 0, 2 * count + 1, number31(0))]),
    ],
    ['sends PING after PING', 10_100, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ['sends SETTINGS after SETTINGS', 1100, () => frame(FRAME.settings, 0, 0, settings([[4, 100]]))],
    ['sends PRIORITY after PRIORITY', 10_100, () => frame(MORE.priority, 0, 1, Buffer.alloc(5))],
    ['sends window updates of one byte', 10_100, () => frame(FRAME.windowUpdate, 0, 0, number31(1))],
    ['sends frames of no known type', 10_100, () => frame(0x99, 0, 0, NO_BYTES)],
    ['sends empty DATA', 10_100, (count) => (count === 0 ? open(1) : frame(FRAME.data, 0, 1, NO_BYTES))],
  ])('and %s is told to calm down', (_, most, next) => {
    const wire = openWire();
    expect(until(wire, most, next)).toBeLessThan(most);
    expect(wire.goAway?.code).toBe(ERROR.enhanceYourCalm);
    expect(wire.connection.streamCount).toBe(0);
  });

  test('may cancel as many calls as it lets be answered', () => {
    const wire = openWire();
    const both = (count: number) => Buffer.concat([open(4 * count + 1), reset(4 * count + 1), unaryCall(4 * count + 3, ECHO, hello)]);
    until(wire, 5000, both);
    expect(wire.goAway).toBeUndefined();
  });

  test('may cancel again after some time', async () => {
    const wire = openWire();
    const cancelled = (count: number) => Buffer.concat([open(2 * count + 1), reset(2 * count + 1)]);
    for (let count = 0; count < 1900; count++) wire.send(cancelled(count));
    await wire.pass(10_000, 1000);
    for (let count = 1900; count < 3800; count++) wire.send(cancelled(count));
    expect(wire.goAway).toBeUndefined();
  });

  test('is not impatiently treated when it opens its window frame by frame for a large answer', () => {
    const wire = openWire({ limits: { streamWindowBytes: 2 ** 26 } });
    wire.send(open(1, ECHO));
    const body = message(Buffer.alloc(40_000_000));
    for (let at = 0; at < body.length; at += 16_384) {
      const part = body.subarray(at, at + 16_384);
      wire.connection.receive(frame(FRAME.data, at + part.length === body.length ? FLAG.endStream : 0, 1, part));
    }
    for (let told = 0; told < body.length; told += 4096) {
      for (const stream of [0, 1]) wire.connection.receive(frame(FRAME.windowUpdate, 0, stream, number31(4096)));
      wire.connection.flush();
      wire.socket.written.length = 0;
    }
    expect(wire.connection.deaf).toBe(false);
    expect(wire.connection.streamCount).toBe(0);
  });
});

describe('a client that does not read', () => {
  test('cannot pile up answers to PING', () => {
    const wire = openWire();
    wire.socket.stuck = true;
    wire.send(unaryCall(1, ECHO, hello));
    expect(until(wire, 2000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))) >= 1000).toBe(true);
    expect(wire.connection.deaf).toBe(true);
    expect(wire.socket.writableLength).toBeLessThan(100_000);
  });

  test('is closed when it takes nothing of its answers for too long', async () => {
    const wire = openWire({ limits: { stallMs: 1000 } });
    wire.socket.stuck = true;
    wire.send(unaryCall(1, ECHO, hello));
    await wire.pass(900, 100);
    expect(wire.socket.destroyed).toBe(false);
    await wire.pass(300, 100);
    expect(wire.socket.destroyed).toBe(true);
  });

  test('and opens no window loses its stream, not its connection', async () => {
    const wire = openWire({ limits: { stallMs: 1000 } });
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 0]])), unaryCall(1, ECHO, hello));
    await wire.pass(900, 100);
    expect(wire.answer(1)).toMatchObject({ ended: false, reset: undefined });
    await wire.pass(300, 100);
    expect(wire.answer(1).reset).toBe(ERROR.cancel);
    expect(wire.goAway).toBeUndefined();
  });

  test('may take an answer byte by byte, as long as it takes it', async () => {
    const wire = openWire({ limits: { stallMs: 1000 } });
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 0]])), unaryCall(1, ECHO, hello));
    for (let count = 0; count < 10; count++) {
      await wire.pass(800, 100);
      wire.send(frame(FRAME.windowUpdate, 0, 1, number31(1)));
    }
    expect(wire.answer(1)).toMatchObject({ ended: true, body: message(hello) });
  });
});

describe('a client that stops', () => {
  test.each<[string, readonly Buffer[]]>([
    ['before the preface', []],
    ['in the preface', [PREFACE.subarray(0, 9)]],
    ['before its settings', [PREFACE]],
    ['in the head of a frame', [PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES), Buffer.alloc(4)]],
    ['in a frame', [PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES), frame(FRAME.ping, 0, 0, Buffer.alloc(8)).subarray(0, 12)]],
    ['in a header block', [PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES), frame(FRAME.headers, 0, 1, NO_BYTES)]],
  ])('%s is closed', async (_, bytes) => {
    const wire = openWire({ greet: false, limits: { stallMs: 1000 } });
    wire.send(...bytes);
    await wire.pass(900, 100);
    expect(wire.goAway).toBeUndefined();
    await wire.pass(300, 100);
    expect(wire.goAway).toMatchObject({ code: ERROR.enhanceYourCalm, text: expect.stringContaining('1000 ms') });
    await wire.pass(1500, 100);
    expect(wire.socket.destroyed).toBe(true);
  });

  test('in its request gets a status, and a stream that may idle is left alone', async () => {
    const wire = openWire({ limits: { stallMs: 1000 } });
    wire.send(open(1), frame(FRAME.data, 0, 1, message(hello).subarray(0, 7)), open(3, CHAT));
    await wire.pass(3000, 100);
    expect(wire.answer(1).headers).toMatchObject({ 'grpc-status': '4', 'grpc-message': expect.stringContaining('1000 ms') });
    expect(wire.answer(3)).toMatchObject({ ended: false, reset: undefined });
  });
});

describe('a client that asks for too much', () => {
  test('of streams has them refused, to be tried again', () => {
    const wire = openWire({ limits: { maxConcurrentStreams: 2 } });
    wire.send(open(1), open(3), open(5));
    expect([1, 3, 5].map((stream) => wire.answer(stream).reset)).toEqual([undefined, undefined, ERROR.refusedStream]);
    wire.send(reset(1), unaryCall(7, ECHO, hello));
    expect(wire.answer(7).ended).toBe(true);
  });

  test.each<[string, (count: number) => Buffer]>([
    ['in large parts', () => frame(MORE.continuation, 0, 1, Buffer.alloc(16_000))],
    ['in small parts', () => frame(MORE.continuation, 0, 1, Buffer.of(0))],
    ['in empty parts', () => frame(MORE.continuation, 0, 1, NO_BYTES)],
  ])('of headers without end %s is told to calm down', (_, next) => {
    const wire = openWire();
    wire.send(frame(FRAME.headers, 0, 1, NO_BYTES));
    expect(until(wire, 1000, next)).toBeLessThan(200);
    expect(wire.goAway?.code).toBe(ERROR.enhanceYourCalm);
  });

  test('of headers gets a status, and its table stays right', () => {
    const wire = openWire({ limits: { maxHeaderListBytes: 5000 } });
    // One field goes into the table and is then meant 250 times by one byte each.
    const bomb = Buffer.concat([Buffer.of(0x40, 1, 0x61, 100), Buffer.alloc(100, 0x62), Buffer.alloc(250, 0xbe)]);
    wire.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.concat([callHeaders(ECHO), bomb])));
    expect(wire.answer(1)).toMatchObject({ ended: true, headers: { 'grpc-status': '8' } });
    wire.send(
      frame(FRAME.headers, FLAG.endHeaders, 3, Buffer.concat([callHeaders(ECHO), Buffer.of(0xbe)])),
      frame(FRAME.data, FLAG.endStream, 3, message(hello)),
    );
    expect(wire.answer(3)).toMatchObject({ ended: true, headers: { 'grpc-status': '0' } });
  });

  test('of a message says its length and cannot make us hold memory for it', () => {
    const wire = openWire({ maxReceiveBytes: 1000 });
    wire.send(open(1, ECHO), frame(FRAME.data, 0, 1, message(hello, 0, 1001)));
    expect(wire.answer(1).headers).toMatchObject({
      'grpc-status': '8',
      'grpc-message': 'Received message larger than max (1001 vs 1000)',
    });
    const before = process.memoryUsage().arrayBuffers;
    const large = openWire();
    for (let stream = 1; stream < 200; stream += 2)
      large.send(open(stream, ECHO), frame(FRAME.data, 0, stream, message(hello, 0, 2 ** 31 - 1)));
    expect(large.connection.streamCount).toBe(100);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
  });

  test('of memory is refused while others have it, and has it given back whatever comes', () => {
    const wire = openWire({ budgetBytes: 3_000_000 });
    const begin = (stream: number) => [open(stream, ECHO), frame(FRAME.data, 0, stream, message(Buffer.alloc(16_000), 0, 2_000_000))];
    const more = (stream: number) => Array.from({ length: 16 }, () => frame(FRAME.data, 0, stream, Buffer.alloc(16_000)));
    wire.send(...begin(1), ...more(1), ...begin(3), ...more(3));
    expect(wire.answer(1)).toMatchObject({ ended: false, reset: undefined });
    expect(wire.answer(3).headers).toMatchObject({ 'grpc-status': '8', 'grpc-message': expect.stringContaining('max_in_flight_bytes') });
    expect(wire.budget.takenBytes).toBe(2_000_000);
    wire.send(reset(1));
    expect(wire.budget.takenBytes).toBe(0);
    // An answer that the client does not take counts until it does, or goes.
    for (const stream of [5, 7]) {
      wire.send(open(stream, ECHO));
      const body = message(Buffer.alloc(500_000));
      for (let at = 0; at < body.length; at += 16_000) {
        const part = body.subarray(at, at + 16_000);
        wire.send(frame(FRAME.data, at + part.length === body.length ? FLAG.endStream : 0, stream, part));
      }
    }
    expect(wire.budget.takenBytes).toBe(1_000_000);
    wire.send(frame(FRAME.windowUpdate, 0, 0, number31(2_000_000)), frame(FRAME.windowUpdate, 0, 5, number31(1_000_000)));
    expect(wire.answer(5).ended).toBe(true);
    expect(wire.budget.takenBytes).toBe(500_000);
    wire.connection.gone();
    expect(wire.budget.takenBytes).toBe(0);
  });

  test('gets errors no longer than a header may be', () => {
    const wire = openWire();
    wire.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.concat([callHeaders(`/${'é'.repeat(100)}`)])));
    const path = Buffer.from(`/${'x'.repeat(15_000)}`);
    const literal = Buffer.concat([Buffer.of(0x04, 0x7f, ((path.length - 127) % 128) | 0x80, Math.floor((path.length - 127) / 128)), path]);
    const others = headerBlock([
      [':method', 'POST'],
      [':scheme', 'http'],
    ]);
    const type = headerBlock([['content-type', 'application/grpc']]);
    wire.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 3, Buffer.concat([others, literal, type])));
    expect(wire.answer(3).headers['grpc-status']).toBe('12');
    expect(wire.answer(3).headers['grpc-message']?.endsWith('...TRUNCATED')).toBe(true);
  });
});
