import type { Duplex } from 'node:stream';
import type { Carried } from './executor-protocol.ts';

/** Where a guarded executor's process has its end. */
export const BYTE_PIPE_FD = 4;

/** Carries the bytes of large tensors between processes, beside the messages that announce them: in order, without copies of its own. */
export interface BytePipe {
  /** Sends bytes that nobody changes from now on. */
  write(bytes: Uint8Array): void;
  /**
   * The next so many bytes, in memory of their own. Calls are served in order. It never settles when the other side goes away: whoever waits
   * hears of that elsewhere.
   */
  take(byteLength: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Makes a pipe of one end of a socket whose other end does the same. It reads only what is asked for. */
export function createBytePipe(socket: Duplex): BytePipe {
  const wanted: { readonly into: Uint8Array<ArrayBuffer>; filled: number; readonly done: (bytes: Uint8Array<ArrayBuffer>) => void }[] = [];
  // What is lost with the other side is told by the end of its process.
  socket.on('error', () => {});

  socket.on('readable', drain);

  function drain(): void {
    for (let head = wanted[0]; head !== undefined; head = wanted[0]) {
      const missing = head.into.byteLength - head.filled;
      if (missing > 0) {
        const chunk = readUpTo(missing);
        if (chunk === null) return;
        head.into.set(chunk, head.filled);
        head.filled += chunk.byteLength;
        continue;
      }
      wanted.shift();
      head.done(head.into);
    }
  }

  function readUpTo(byteLength: number): Uint8Array | null {
    const ready = Math.min(byteLength, socket.readableLength);
    // With nothing there, asking starts the next read.
    return socket.read(ready === 0 ? undefined : ready) as Uint8Array | null;
  }

  return {
    write: (bytes) => void socket.write(bytes),
    take: (byteLength) =>
      new Promise((resolve) => {
        wanted.push({ into: new Uint8Array(byteLength), filled: 0, done: resolve });
        drain();
      }),
  };
}

/** From so many bytes on they go by the pipe: a message is faster for few, and copies many several times. */
const PIPED_FROM_BYTES = 128 * 1024;

/** What a message says of bytes that are sent with it. */
export function carry(pipe: BytePipe, bytes: Uint8Array): Carried {
  if (bytes.byteLength < PIPED_FROM_BYTES) return bytes;
  pipe.write(bytes);
  return { piped: bytes.byteLength };
}

/** The bytes that came with a message, from the start of memory of their own. Messages must be taken in the order in which they came. */
export async function uncarry(pipe: BytePipe, carried: Carried): Promise<ArrayBuffer> {
  return 'piped' in carried ? (await pipe.take(carried.piped)).buffer : new Uint8Array(carried).buffer;
}
