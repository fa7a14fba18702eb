/** Flow control in both directions, and any cut of the bytes into chunks. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ERROR } from '../../../services/gateway/http2/protocol.ts';
import { CHAT, ECHO, HOLD, REPEAT } from './echo-service.ts';
import {
  callHeaders,
  FLAG,
  FRAME,
  frame,
  message,
  NO_BYTES,
  number31,
  openWire,
  PREFACE,
  settings,
  unaryCall,
  type WireAnswer,
} from './wire.ts';

const bytes = (length: number, seed = 1) => Buffer.from(Uint8Array.from({ length }, (_, index) => (index * seed) % 251));
const open = (stream: number, path: string) => frame(FRAME.headers, FLAG.endHeaders, stream, callHeaders(path));
/** A body in DATA frames. */
function data(stream: number, body: Buffer, most = 16_384): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += most) {
    const part = body.subarray(at, at + most);
    frames.push(frame(FRAME.data, at + part.length === body.length ? FLAG.endStream : 0, stream, part));
  }
  return frames;
}
/** Large Buffers are slow to compare in any other way. */
const isWhole = (answer: WireAnswer, body: Buffer) => answer.ended && answer.body.equals(body);
const update = (stream: number, more: number) => frame(FRAME.windowUpdate, 0, stream, number31(more));

describe('an answer', () => {
  test('waits for the window of its stream, and its trailers with it', () => {
    const wire = openWire();
    const body = message(bytes(100_000));
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 1000]])), update(0, 1_000_000), open(1, ECHO), ...data(1, body));
    expect(wire.answer(1)).toMatchObject({ body: body.subarray(0, 1000), ended: false });
    wire.send(update(1, 1));
    expect(wire.answer(1).body).toHaveLength(1001);
    wire.send(update(1, 200_000));
    expect(isWhole(wire.answer(1), body)).toBe(true);
  });

  test('waits for the window of the connection, which all streams share fairly', () => {
    const wire = openWire();
    const body = message(bytes(60_000));
    wire.send(open(1, ECHO), ...data(1, body), open(3, ECHO), ...data(3, body));
    expect(wire.answer(1).body.length + wire.answer(3).body.length).toBe(65_535);
    wire.send(update(0, 40_000));
    expect(wire.answer(1).body.length + wire.answer(3).body.length).toBe(105_535);
    expect(Math.min(wire.answer(1).body.length, wire.answer(3).body.length)).toBeGreaterThan(40_000);
    wire.send(update(0, 40_000));
    expect([isWhole(wire.answer(1), body), isWhole(wire.answer(3), body)]).toEqual([true, true]);
  });

  test('does not hold up a small one on another stream', () => {
    const wire = openWire();
    wire.send(open(1, ECHO), ...data(1, message(bytes(100_000))), update(0, 100_000), unaryCall(3, ECHO, bytes(10)));
    expect([wire.answer(1).ended, wire.answer(3).ended]).toEqual([false, true]);
  });

  test('stops while settings have made its window negative', () => {
    const wire = openWire();
    const body = message(bytes(100_000));
    wire.send(update(0, 1_000_000), open(1, ECHO), ...data(1, body));
    expect(wire.answer(1).body).toHaveLength(65_535);
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 10]])), update(1, 65_525));
    expect(wire.answer(1).body).toHaveLength(65_535);
    wire.send(update(1, 5));
    expect(wire.answer(1).body).toHaveLength(65_540);
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 65_535]])));
    expect(isWhole(wire.answer(1), body)).toBe(true);
  });

  test('goes in frames of the size that the client takes', () => {
    const wire = openWire();
    const body = message(bytes(60_000));
    wire.send(frame(FRAME.settings, 0, 0, settings([[5, 20_000]])), open(1, ECHO), ...data(1, body));
    expect(wire.of(FRAME.data).map(({ payload }) => payload.length)).toEqual([20_000, 20_000, 20_000, 5]);
    expect(wire.answer(1).body.equals(body)).toBe(true);
  });

  test('of many messages keeps their order behind a closed window', () => {
    const wire = openWire();
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 7]])), unaryCall(1, REPEAT, Buffer.from([9, 1, 2, 3])));
    wire.send(update(1, 20), update(1, 1000));
    expect(wire.answer(1)).toMatchObject({ body: Buffer.concat(Array(9).fill(message(Buffer.from([9, 1, 2, 3])))), ended: true });
  });

  test('waits for a socket that takes nothing, and nothing more is read then', () => {
    const wire = openWire({ limits: { streamWindowBytes: 8_000_000 } });
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 2 ** 30]])), update(0, 2 ** 30));
    wire.socket.stuck = true;
    const body = message(bytes(3_000_000));
    wire.send(open(1, ECHO), ...data(1, body));
    expect(wire.socket.writableLength).toBeLessThan(1_500_000);
    wire.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    expect(wire.socket.isPaused()).toBe(true);
    wire.socket.release();
    for (let turn = 0; turn < 20; turn++) wire.read();
    expect(isWhole(wire.answer(1), body)).toBe(true);
    expect(wire.socket.isPaused()).toBe(false);
  });
});

describe('a request', () => {
  test('gets a larger window as it comes, on its stream and the connection', () => {
    const wire = openWire({ limits: { streamWindowBytes: 100_000, connectionWindowBytes: 200_000 } });
    const body = message(bytes(1_000_000));
    wire.send(open(1, HOLD), ...data(1, body));
    expect(wire.echo.requests[0]?.equals(body.subarray(5))).toBe(true);
    const told = (stream: number) =>
      wire
        .of(FRAME.windowUpdate)
        .filter((one) => one.stream === stream)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0);
    expect(told(1)).toBeGreaterThan(body.length - 100_000);
    expect(told(0)).toBeGreaterThan(body.length - 100_000);
    expect(wire.goAway).toBeUndefined();
  });

  test('beyond its window is a flow control error, when its handler has paused', () => {
    const wire = openWire({ limits: { streamWindowBytes: 1000 } });
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 0]])), open(1, CHAT));
    for (let count = 0; count < 9; count++) wire.send(frame(FRAME.data, 0, 1, message(bytes(95))));
    expect(wire.echo.requests).toHaveLength(1);
    expect(wire.of(FRAME.windowUpdate).filter(({ stream }) => stream === 1)).toEqual([]);
    wire.send(update(1, 1000));
    expect(wire.echo.requests).toHaveLength(9);
    wire.send(frame(FRAME.settings, 0, 0, settings([[4, 0]])), frame(FRAME.data, 0, 1, Buffer.concat(Array(11).fill(message(bytes(95))))));
    expect(wire.answer(1).reset).toBe(ERROR.flowControl);
    expect(wire.echo.seen.cancelled).toBe(1);
  });

  test('that goes away in the middle gives its window back to the connection', () => {
    const wire = openWire({ limits: { connectionWindowBytes: 200_000 } });
    wire.send(open(1, HOLD), frame(FRAME.rstStream, 0, 1, number31(8)));
    wire.send(open(3, '/nobody/Offers'));
    for (let count = 0; count < 20; count++) wire.send(frame(FRAME.data, 0, 3, bytes(16_384)));
    const told = wire.of(FRAME.windowUpdate).filter(({ stream, payload }) => stream === 0 && payload.readUInt32BE() > 90_000);
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(wire.goAway).toBeUndefined();
  });
});

describe('bytes', () => {
  const conversation = Buffer.concat([
    PREFACE,
    frame(FRAME.settings, 0, 0, settings([[4, 300]])),
    unaryCall(1, ECHO, bytes(200, 3)),
    open(3, CHAT),
    frame(FRAME.data, 0, 3, Buffer.concat([message(bytes(10)), message(NO_BYTES), message(bytes(20)).subarray(0, 3)])),
    frame(FRAME.ping, 0, 0, Buffer.from('12345678')),
    frame(FRAME.data, 0x8, 3, Buffer.concat([Buffer.of(2), message(bytes(20)).subarray(3), Buffer.alloc(2)])),
    unaryCall(5, ECHO, bytes(1000, 7)),
    update(5, 2000),
    frame(FRAME.data, FLAG.endStream, 3, message(bytes(30))),
    unaryCall(7, '/nobody/Offers', bytes(5)),
  ]);
  const listen = (chunks: readonly Buffer[]) => {
    const wire = openWire({ greet: false });
    wire.send(...chunks);
    const answers = [1, 3, 5, 7].map(wire.answer).map((one) => ({ ...one, body: one.body.toString('hex') }));
    return { requests: wire.echo.requests.map((one) => one.toString('hex')), answers, goAway: wire.goAway };
  };
  const whole = listen([conversation]);

  test('in one piece are all answered', () => {
    expect(whole.answers.map(({ headers }) => headers['grpc-status'])).toEqual(['0', '0', '0', '12']);
    expect(whole.answers.map(({ body }) => body.length)).toEqual([205, 80, 1005, 0].map((length) => 2 * length));
  });

  test('cut anywhere give the same calls and answers', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: conversation.length }), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, (places) => {
        const edges = [0, ...places.sort((a, b) => a - b), conversation.length];
        // Chunks of their own memory, as a socket's are.
        const chunks = edges.slice(1).map((end, index) => Buffer.from(conversation.subarray(edges[index], end)));
        expect(listen(chunks)).toEqual(whole);
      }),
      { numRuns: 150 },
    );
  });

  test('one by one give the same calls and answers', () => {
    expect(listen(Array.from(conversation, (byte) => Buffer.of(byte)))).toEqual(whole);
  });
});
