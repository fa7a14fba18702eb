/** What a client's connection brings: header blocks, frames, and gRPC messages in them. */
import { Duplex } from 'node:stream';
import { createCallMaker } from '../../../../services/gateway/grpc/headrace-carrier.ts';
import { Connection } from '../../../../services/gateway/http2/connection.ts';
import { ScratchPool } from '../../../../services/gateway/http2/frame-writer.ts';
import { type HeaderField, HpackDecoder } from '../../../../services/gateway/http2/hpack-decoder.ts';
import { encodeHeaders } from '../../../../services/gateway/http2/hpack-encoder.ts';
import { DEFAULT_LIMITS } from '../../../../services/gateway/http2/limits.ts';
import { ConnectionError, FLAG, FRAME, HEAD_BYTES, PREFACE } from '../../../../services/gateway/http2/protocol.ts';
import { CHAT, createEchoService, ECHO, FAIL, REPEAT } from '../../../gateway/http2/echo-service.ts';
import { agree, type FuzzTarget } from '../target.ts';

const MOST_LIST_BYTES = 16_384;
const TABLE_BYTES = 4096;

/** Fields of a block, or undefined when it ends the connection. */
function fieldsIn(decoder: HpackDecoder, bytes: Uint8Array): readonly HeaderField[] | undefined {
  try {
    return decoder.decode(bytes, 0, bytes.byteLength).fields;
  } catch (caught) {
    if (caught instanceof ConnectionError) return undefined;
    throw caught;
  }
}

/** Blocks of one connection, each behind its length. The table keeps its bound, and what is read, written and read again is the same. */
function hpack(bytes: Uint8Array): void {
  const decoder = new HpackDecoder(MOST_LIST_BYTES);
  for (let at = 0; at < bytes.byteLength; ) {
    const end = at + 1 + (bytes[at] ?? 0);
    const fields = fieldsIn(decoder, bytes.subarray(at + 1, end));
    if (fields === undefined) return;
    if (decoder.tableBytes > TABLE_BYTES || decoder.tableBytes < 0) throw new Error(`a table of ${decoder.tableBytes} bytes`);
    const size = fields.reduce((sum, { name, value }) => sum + name.length + value.length + 32, 0);
    if (size > MOST_LIST_BYTES) throw new Error(`a list of ${size} bytes`);
    const plain = fields.map(({ name, value }) => [name, value] as const);
    const again = fieldsIn(new HpackDecoder(MOST_LIST_BYTES), encodeHeaders(plain));
    agree(
      'what is written and read again',
      (again ?? []).map(({ name, value }) => [name, value]),
      plain,
    );
    at = end;
  }
}

/** A socket that takes everything at once. */
class Sink extends Duplex {
  readonly written: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    done();
  }
}

/** What a connection answers to chunks. Throws what the server calls its bug. */
function answersTo(chunks: readonly Buffer[]): Buffer {
  const socket = new Sink({ highWaterMark: 1 << 30 });
  socket.on('error', () => {});
  const maker = createCallMaker([createEchoService().service], {
    maxReceiveBytes: 4096,
    maxSendBytes: 1 << 20,
    now: () => 0,
    stallMs: 1000,
  });
  const host = {
    ...maker,
    flushLater() {},
    now: () => 0,
    limits: { ...DEFAULT_LIMITS, maxConcurrentStreams: 8 },
    scratch: new ScratchPool(),
  };
  const connection = new Connection(host, socket);
  for (const chunk of chunks) {
    connection.receive(chunk);
    connection.flush();
    if (connection.streamCount > 8) throw new Error(`${connection.streamCount} streams are open, 8 were allowed`);
  }
  connection.tick(1, 1);
  connection.gone();
  socket.destroy();
  return Buffer.concat(socket.written);
}

/** Frames but for those that say how much may be sent, which may come in other portions. */
function framesOf(bytes: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
    if (bytes[at + 3] !== FRAME.windowUpdate) frames.push(bytes.toString('hex', at, end));
    at = end;
  }
  return frames;
}

/** However a client's bytes are cut, the answer is the same; none of them is a bug of the server. */
function http2(bytes: Uint8Array): void {
  const whole = Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, Buffer.alloc(0)), bytes]);
  const inOne = framesOf(answersTo([Buffer.from(whole)]));
  const size = 1 + ((bytes[bytes.byteLength - 1] ?? 0) % 40);
  const cut = Array.from({ length: Math.ceil(whole.length / size) }, (_, index) =>
    Buffer.from(whole.subarray(index * size, (index + 1) * size)),
  );
  agree('the answer to one chunk and to many', framesOf(answersTo(cut)), inOne);
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function head(path: string): Buffer {
  return encodeHeaders([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
  ]);
}

function call(stream: number, path: string, message: string): Buffer {
  const length = Buffer.alloc(5);
  length.writeUInt32BE(message.length, 1);
  const data = Buffer.concat([length, Buffer.from(message, 'latin1')]);
  return Buffer.concat([frame(FRAME.headers, FLAG.endHeaders, stream, head(path)), frame(FRAME.data, FLAG.endStream, stream, data)]);
}

const block = (bytes: Uint8Array) => Buffer.concat([Uint8Array.of(bytes.byteLength), bytes]);

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'hpack',
    format: 'bytes',
    covers: ['services/gateway/http2/'],
    words: [
      Uint8Array.of(0x3f, 0xe1, 0x1f),
      Uint8Array.of(0x20),
      Uint8Array.of(0x40),
      Uint8Array.of(0xbe),
      Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f),
      ':path',
    ],
    seeds: () => [
      block(head(ECHO)),
      // An example of RFC 7541, appendix C.4: Huffman codes, and the table that they leave behind.
      Buffer.concat([
        block(Buffer.from('828684418cf1e3c2e5f23a6ba0ab90f4ff', 'hex')),
        block(Buffer.from('828684be5886a8eb10649cbf', 'hex')),
      ]),
    ],
    check: hpack,
  },
  {
    name: 'http2',
    format: 'bytes',
    covers: ['services/gateway/http2/', 'services/gateway/grpc/'],
    words: [...Object.values(FRAME)].map((type) => frame(type, 0, 1, Buffer.alloc(4))),
    seeds: () => [
      call(1, ECHO, 'hello'),
      Buffer.concat([call(1, FAIL, 'why'), call(3, REPEAT, '\x02x')]),
      Buffer.concat([
        call(1, CHAT, 'a'),
        frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 1, 0])),
        frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
      ]),
      Buffer.concat([
        frame(FRAME.headers, 0, 1, head(ECHO).subarray(0, 20)),
        frame(FRAME.continuation, FLAG.endHeaders, 1, head(ECHO).subarray(20)),
        frame(FRAME.rstStream, 0, 1, Buffer.from([0, 0, 0, 8])),
      ]),
    ],
    check: http2,
  },
];
