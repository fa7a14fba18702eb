/** The few pieces of HTTP/2 (RFC 9113) that a load generator for gRPC needs: frames out, frames in, headers written without compression. */

/** Frame types. */
export const FRAME = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;

/** Frame flags. */
export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4 } as const;

/** What a client says first. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

const HEAD_BYTES = 9;

/** Writes a frame's 9 bytes of head. */
export function frameHead(frame: {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly length: number;
}): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUIntBE(frame.length, 0, 3);
  head[3] = frame.type;
  head[4] = frame.flags;
  head.writeUInt32BE(frame.stream, 5);
  return head;
}

/** A whole frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  return Buffer.concat([frameHead({ type, flags, stream, length: payload.length }), payload]);
}

/** A SETTINGS payload. */
export function settings(values: ReadonlyArray<readonly [identifier: number, value: number]>): Buffer {
  const payload = Buffer.alloc(6 * values.length);
  values.forEach(([identifier, value], index) => {
    payload.writeUInt16BE(identifier, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  });
  return payload;
}

/** A payload of one 31-bit number: a window's growth. */
export function number31(value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return payload;
}

/** A header block (RFC 7541) of literals that are not indexed and not Huffman-coded: the same bytes whatever was sent before. */
export function headerBlock(headers: ReadonlyArray<readonly [name: string, value: string]>): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), headerText(name), headerText(value)]));
}

function headerText(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  if (bytes.length < 255) return Buffer.concat([Buffer.of(127, bytes.length - 127), bytes]);
  throw new RangeError(`header text of ${bytes.length} bytes`);
}

/** One frame that came in; `payload` is a view. */
export interface IncomingFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Cuts what a socket delivers into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Takes bytes and calls `take` for each frame that is whole now. */
  push(bytes: Buffer, take: (frame: IncomingFrame) => void): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    while (all.length - at >= HEAD_BYTES) {
      const length = all.readUIntBE(at, 3);
      const end = at + HEAD_BYTES + length;
      if (end > all.length) break;
      const payload = all.subarray(at + HEAD_BYTES, end);
      take({ type: all[at + 3] ?? 0, flags: all[at + 4] ?? 0, stream: all.readUInt32BE(at + 5) & 0x7fffffff, payload });
      at = end;
    }
    this.#rest = all.subarray(at);
  }
}
