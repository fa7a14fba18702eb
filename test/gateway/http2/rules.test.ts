/** RFC 9113's rules for what a client may send, and the error that each ends in. */
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
} from './wire.ts';

const hello = Buffer.from('hello');
const open = (stream: number, path = HOLD) => frame(FRAME.headers, FLAG.endHeaders, stream, callHeaders(path));
const headers = (fields: ReadonlyArray<readonly [string, string]>, flags = FLAG.endHeaders | FLAG.endStream) =>
  frame(FRAME.headers, flags, 1, headerBlock(fields));
const REQUIRED = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', ECHO],
  ['content-type', 'application/grpc'],
] as const;

describe('a connection', () => {
  test.each<[string, number, readonly Buffer[]]>([
    ['DATA on stream 0', ERROR.protocol, [frame(FRAME.data, 0, 0, hello)]],
    ['DATA on a stream that was never opened', ERROR.protocol, [frame(FRAME.data, 0, 1, hello)]],
    ['DATA whose padding is longer than it', ERROR.protocol, [open(1), frame(FRAME.data, 0x8, 1, Buffer.of(9, 1, 2))]],
    ['padded DATA without a length', ERROR.frameSize, [open(1), frame(FRAME.data, 0x8, 1, NO_BYTES)]],
    ['HEADERS on stream 0', ERROR.protocol, [frame(FRAME.headers, FLAG.endHeaders, 0, callHeaders(ECHO))]],
    ['HEADERS on an even stream', ERROR.protocol, [open(2)]],
    ['HEADERS on a stream below an earlier one', ERROR.streamClosed, [open(5), open(3)]],
    ['HEADERS on a stream that has ended', ERROR.streamClosed, [unaryCall(1, ECHO, hello), open(1)]],
    ['HEADERS whose padding is longer than it', ERROR.protocol, [frame(FRAME.headers, 0x8 | FLAG.endHeaders, 1, Buffer.of(9, 1, 2))]],
    ['a header block that cannot be read', ERROR.compression, [frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.of(0xff, 0xff))]],
    ['trailers that cannot be read', ERROR.compression, [open(1), frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.of(0x80))]],
    ['another frame in a header block', ERROR.protocol, [frame(FRAME.headers, 0, 1, NO_BYTES), frame(FRAME.ping, 0, 0, Buffer.alloc(8))]],
    ['DATA in a header block', ERROR.protocol, [frame(FRAME.headers, 0, 1, NO_BYTES), frame(FRAME.data, 0, 1, hello)]],
    ['CONTINUATION of another stream', ERROR.protocol, [frame(FRAME.headers, 0, 1, NO_BYTES), frame(MORE.continuation, 4, 3, NO_BYTES)]],
    ['CONTINUATION of nothing', ERROR.protocol, [frame(MORE.continuation, 4, 1, NO_BYTES)]],
    ['PRIORITY on stream 0', ERROR.protocol, [frame(MORE.priority, 0, 0, Buffer.alloc(5))]],
    ['RST_STREAM on stream 0', ERROR.protocol, [frame(FRAME.rstStream, 0, 0, number31(8))]],
    ['RST_STREAM on a stream that was never opened', ERROR.protocol, [frame(FRAME.rstStream, 0, 1, number31(8))]],
    ['RST_STREAM of 3 bytes', ERROR.frameSize, [open(1), frame(FRAME.rstStream, 0, 1, Buffer.alloc(3))]],
    ['SETTINGS on a stream', ERROR.protocol, [frame(FRAME.settings, 0, 1, NO_BYTES)]],
    ['SETTINGS of 5 bytes', ERROR.frameSize, [frame(FRAME.settings, 0, 0, Buffer.alloc(5))]],
    ['an acknowledgement of SETTINGS with a payload', ERROR.frameSize, [frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(6))]],
    ['ENABLE_PUSH of 2', ERROR.protocol, [frame(FRAME.settings, 0, 0, settings([[2, 2]]))]],
    ['INITIAL_WINDOW_SIZE of 2^31', ERROR.flowControl, [frame(FRAME.settings, 0, 0, settings([[4, 2 ** 31]]))]],
    ['MAX_FRAME_SIZE of 16,383', ERROR.protocol, [frame(FRAME.settings, 0, 0, settings([[5, 16_383]]))]],
    ['MAX_FRAME_SIZE of 2^24', ERROR.protocol, [frame(FRAME.settings, 0, 0, settings([[5, 2 ** 24]]))]],
    ['PUSH_PROMISE', ERROR.protocol, [frame(MORE.pushPromise, FLAG.endHeaders, 1, Buffer.alloc(4))]],
    ['PING on a stream', ERROR.protocol, [frame(FRAME.ping, 0, 1, Buffer.alloc(8))]],
    ['PING of 7 bytes', ERROR.frameSize, [frame(FRAME.ping, 0, 0, Buffer.alloc(7))]],
    ['GOAWAY on a stream', ERROR.protocol, [frame(FRAME.goAway, 0, 1, Buffer.alloc(8))]],
    ['GOAWAY of 7 bytes', ERROR.frameSize, [frame(FRAME.goAway, 0, 0, Buffer.alloc(7))]],
    ['WINDOW_UPDATE of 3 bytes', ERROR.frameSize, [frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3))]],
    ['WINDOW_UPDATE of nothing', ERROR.protocol, [frame(FRAME.windowUpdate, 0, 0, number31(0))]],
    ['WINDOW_UPDATE beyond 2^31 - 1', ERROR.flowControl, [frame(FRAME.windowUpdate, 0, 0, number31(2 ** 31 - 1))]],
    ['WINDOW_UPDATE on a stream that was never opened', ERROR.protocol, [frame(FRAME.windowUpdate, 0, 1, number31(1))]],
    [
      'SETTINGS that make the window of a stream larger than 2^31 - 1',
      ERROR.flowControl,
      [open(1), frame(FRAME.windowUpdate, 0, 1, number31(2 ** 31 - 1 - 65_535)), frame(FRAME.settings, 0, 0, settings([[4, 65_536]]))],
    ],
    ['a frame of 16,385 bytes', ERROR.frameSize, [open(1), frame(FRAME.data, 0, 1, Buffer.alloc(16_385))]],
  ])('ends after %s', (_, code, bytes) => {
    const wire = openWire();
    wire.send(...bytes);
    expect(wire.goAway?.code).toBe(code);
    expect(wire.socket.writableEnded).toBe(true);
    expect(wire.connection.streamCount).toBe(0);
  });

  test.each([
    ['frames without the preface', [frame(FRAME.settings, 0, 0, NO_BYTES)]],
    ['a preface that goes wrong', [PREFACE.subarray(0, 20), Buffer.from('nope')]],
    ['a first frame that is not SETTINGS', [PREFACE, frame(FRAME.ping, 0, 0, Buffer.alloc(8))]],
    ['DATA in pieces before SETTINGS', [PREFACE, frame(FRAME.data, 0, 1, Buffer.alloc(100)).subarray(0, 20)]],
  ])('ends after %s', (_, bytes) => {
    const wire = openWire({ greet: false });
    wire.send(...bytes);
    expect(wire.goAway?.code).toBe(ERROR.protocol);
  });

  test('that speaks HTTP/1.1 is told so in HTTP/1.1', () => {
    const wire = openWire({ greet: false });
    wire.connection.receive(Buffer.from('GET /v1/models/m HTTP/1.1\r\nhost: a\r\n\r\n'));
    const answer = Buffer.concat(wire.socket.written).toString();
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 400 /);
    expect(head).toContain(`content-length: ${body.length}\r\n`.trim());
    expect(body).toContain('gRPC');
  });

  test('goes on after what may be ignored', () => {
    const wire = openWire();
    wire.send(
      frame(0x77, 0xff, 3, hello),
      frame(MORE.priority, 0, 9, Buffer.alloc(5)),
      frame(FRAME.settings, 0, 0, settings([[0x99, 7]])),
      frame(FRAME.settings, FLAG.ack, 0, NO_BYTES),
      frame(FRAME.ping, FLAG.ack, 0, Buffer.alloc(8)),
      unaryCall(1, ECHO, hello),
      frame(FRAME.windowUpdate, 0, 1, number31(1)),
      frame(FRAME.rstStream, 0, 1, number31(8)),
      unaryCall(3, ECHO, hello),
    );
    expect(wire.goAway).toBeUndefined();
    expect(wire.answer(3)).toMatchObject({ body: message(hello), ended: true });
  });

  test('answers SETTINGS and PING', () => {
    const wire = openWire();
    wire.send(frame(FRAME.ping, 0, 0, Buffer.from('12345678')));
    expect(wire.of(FRAME.ping)).toEqual([{ type: FRAME.ping, flags: FLAG.ack, stream: 0, payload: Buffer.from('12345678') }]);
    expect(wire.of(FRAME.settings).map(({ flags }) => flags)).toEqual([0, FLAG.ack]);
  });

  test('of a client that goes ends when its calls are done', () => {
    const wire = openWire();
    wire.send(unaryCall(1, HOLD, hello), frame(FRAME.goAway, 0, 0, Buffer.alloc(8)));
    expect(wire.socket.writableEnded).toBe(false);
    wire.echo.held[0]?.reply(hello, null);
    wire.read();
    expect(wire.answer(1).ended).toBe(true);
    expect(wire.socket.writableEnded).toBe(true);
  });
});

describe('a stream', () => {
  test.each<[string, number, readonly Buffer[]]>([
    ['DATA after its end', ERROR.streamClosed, [unaryCall(1, HOLD, hello), frame(FRAME.data, 0, 1, hello)]],
    ['HEADERS after its end', ERROR.streamClosed, [unaryCall(1, HOLD, hello), frame(FRAME.headers, 5, 1, callHeaders(HOLD))]],
    [
      'HEADERS in the middle that do not end it',
      ERROR.protocol,
      [open(1), frame(FRAME.headers, FLAG.endHeaders, 1, headerBlock([['a', 'b']]))],
    ],
    ['trailers with a pseudo-header', ERROR.protocol, [open(1), frame(FRAME.headers, 5, 1, headerBlock([[':path', '/']]))]],
    ['trailers with a broken name', ERROR.protocol, [open(1), frame(FRAME.headers, 5, 1, headerBlock([['A b', 'c']]))]],
    ['WINDOW_UPDATE of nothing', ERROR.protocol, [open(1), frame(FRAME.windowUpdate, 0, 1, number31(0))]],
    ['WINDOW_UPDATE beyond 2^31 - 1', ERROR.flowControl, [open(1), frame(FRAME.windowUpdate, 0, 1, number31(2 ** 31 - 1))]],
    ['PRIORITY of 4 bytes', ERROR.frameSize, [open(1), frame(MORE.priority, 0, 1, Buffer.alloc(4))]],
    ['no :method', ERROR.protocol, [headers(REQUIRED.slice(1))]],
    ['no :scheme', ERROR.protocol, [headers(REQUIRED.filter(([name]) => name !== ':scheme'))]],
    ['no :path', ERROR.protocol, [headers(REQUIRED.filter(([name]) => name !== ':path'))]],
    ['an empty :path', ERROR.protocol, [headers([...REQUIRED.filter(([name]) => name !== ':path'), [':path', '']])]],
    [':method twice', ERROR.protocol, [headers([[':method', 'POST'], ...REQUIRED])]],
    ['a pseudo-header of answers', ERROR.protocol, [headers([[':status', '200'], ...REQUIRED])]],
    ['a pseudo-header after others', ERROR.protocol, [headers([['a', 'b'], ...REQUIRED])]],
    ['a name in capitals', ERROR.protocol, [headers([...REQUIRED, ['Abc', 'd']])]],
    ['an empty name', ERROR.protocol, [headers([...REQUIRED, ['', 'd']])]],
    ['a line break in a value', ERROR.protocol, [headers([...REQUIRED, ['a', 'b\nc']])]],
    ['a header of the connection', ERROR.protocol, [headers([...REQUIRED, ['connection', 'close']])]],
    ['a te other than trailers', ERROR.protocol, [headers([...REQUIRED, ['te', 'gzip']])]],
    ['a content-length that is none', ERROR.protocol, [headers([...REQUIRED, ['content-length', '-1']])]],
    ['two different content-lengths', ERROR.protocol, [headers([...REQUIRED, ['content-length', '1'], ['content-length', '2']])]],
    ['a content-length without a body', ERROR.protocol, [headers([...REQUIRED, ['content-length', '3']])]],
    [
      'more than its content-length',
      ERROR.protocol,
      [headers([...REQUIRED, ['content-length', '9']], FLAG.endHeaders), frame(FRAME.data, 0, 1, message(hello))],
    ],
    [
      'less than its content-length',
      ERROR.protocol,
      [headers([...REQUIRED, ['content-length', '11']], FLAG.endHeaders), frame(FRAME.data, FLAG.endStream, 1, message(hello))],
    ],
  ])('ends after %s, and its neighbour goes on', (_, code, bytes) => {
    const wire = openWire();
    wire.send(...bytes);
    expect(wire.goAway).toBeUndefined();
    expect(wire.answer(1).reset).toBe(code);
    wire.send(unaryCall(3, ECHO, hello));
    expect(wire.answer(3)).toMatchObject({ body: message(hello), ended: true });
    expect(wire.connection.streamCount).toBe(0);
  });

  test('that the client resets is cancelled at its handler', () => {
    const wire = openWire();
    wire.send(unaryCall(1, HOLD, hello));
    expect(wire.echo.seen.cancelled).toBe(0);
    wire.send(frame(FRAME.rstStream, 0, 1, number31(ERROR.cancel)));
    expect(wire.echo.seen.cancelled).toBe(1);
    wire.echo.held[0]?.reply(hello, null);
    wire.read();
    expect(wire.answer(1)).toMatchObject({ ended: false, reset: undefined });
  });

  test('that is answered before its end is reset without an error, and what still comes is ignored', () => {
    const wire = openWire();
    wire.send(open(1, '/nobody/Offers'));
    expect(wire.answer(1)).toMatchObject({ ended: true, reset: ERROR.none, headers: { 'grpc-status': '12' } });
    wire.send(frame(FRAME.data, 0, 1, message(hello)), frame(FRAME.headers, 5, 1, headerBlock([['a', 'b']])));
    expect(wire.goAway).toBeUndefined();
    expect(wire.of(FRAME.rstStream)).toHaveLength(1);
  });

  test('may have trailers, padding, priority and a header block in parts', () => {
    const wire = openWire();
    const block = callHeaders(ECHO, [['content-length', '10']]);
    const padded = (bytes: Buffer) => Buffer.concat([Buffer.of(3), bytes, Buffer.alloc(3)]);
    wire.send(
      frame(FRAME.headers, 0x8 | 0x20, 1, padded(Buffer.concat([Buffer.alloc(5), block.subarray(0, 10)]))),
      frame(MORE.continuation, 0, 1, block.subarray(10, 11)),
      frame(MORE.continuation, FLAG.endHeaders, 1, block.subarray(11)),
      frame(FRAME.data, 0x8, 1, padded(message(hello).subarray(0, 7))),
      frame(FRAME.data, 0, 1, NO_BYTES),
      frame(FRAME.data, 0, 1, message(hello).subarray(7)),
      frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, headerBlock([['a', 'b']])),
    );
    expect(wire.goAway).toBeUndefined();
    expect(wire.answer(1)).toMatchObject({ body: message(hello), ended: true, headers: { ':status': '200', 'grpc-status': '0' } });
  });

  test('may be open in one direction for as long as the client likes', () => {
    const wire = openWire();
    wire.send(open(1, CHAT), frame(FRAME.data, 0, 1, message(hello)));
    expect(wire.answer(1)).toMatchObject({ body: message(hello), ended: false });
    wire.send(frame(FRAME.data, FLAG.endStream, 1, message(hello)));
    expect(wire.answer(1)).toMatchObject({ body: Buffer.concat([message(hello), message(hello)]), ended: true });
    expect(wire.echo.seen.chatsEnded).toBe(1);
  });
});

describe('a header block', () => {
  test('of ours begins with an empty table once the client has made its own smaller', () => {
    const wire = openWire();
    wire.send(frame(FRAME.settings, 0, 0, settings([[1, 0]])), unaryCall(1, ECHO, hello), unaryCall(3, ECHO, hello));
    const blocks = wire.of(FRAME.headers).map(({ payload }) => payload[0]);
    expect(blocks[0]).toBe(0x20);
    expect(blocks.slice(1)).not.toContain(0x20);
  });

  test('means what it meant before only while the dynamic table is the same', () => {
    const wire = openWire();
    const indexed = (text: string) => Buffer.concat([Buffer.of(0x44, text.length), Buffer.from(text)]);
    const base = headerBlock(REQUIRED.filter(([name]) => name !== ':path'));
    const call = (stream: number, block: Buffer) => [
      frame(FRAME.headers, FLAG.endHeaders, stream, Buffer.concat([block])),
      frame(FRAME.data, FLAG.endStream, stream, message(hello)),
    ];
    const fromTable = Buffer.concat([Buffer.of(0xbe), base]);
    wire.send(...call(1, Buffer.concat([indexed(ECHO), base])), ...call(3, fromTable), ...call(5, fromTable));
    wire.send(...call(7, Buffer.concat([indexed('/test.Echo/Nope'), base])), ...call(9, fromTable));
    expect([1, 3, 5, 7, 9].map((stream) => wire.answer(stream).headers['grpc-status'])).toEqual(['0', '0', '0', '12', '12']);
  });
});
