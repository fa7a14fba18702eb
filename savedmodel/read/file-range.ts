/** Reads parts of files, so that a shard of gigabytes is never in memory as a whole. */
import { open } from 'node:fs/promises';
import { ServeError } from '#mesh/errors.ts';
import { damaged } from './damaged.ts';
import { isAbsence, unreadable } from './unreadable.ts';

/** A stretch of a file, in bytes. */
export interface FileRange {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

const CHUNK_BYTES = 16 * 1024 * 1024;

/** Reads a stretch into memory of its own. Throws DATA_LOSS when the file is missing or ends before. */
export async function readRange(range: FileRange, onChunk: (chunk: Uint8Array) => void = () => {}): Promise<Uint8Array> {
  return withChunks(range, (byteLength) => new Uint8Array(byteLength), onChunk);
}

/** Passes over a stretch chunk by chunk without keeping it; a chunk is valid only during the call. Throws as `readRange`. */
export async function scanRange(range: FileRange, onChunk: (chunk: Uint8Array) => void): Promise<void> {
  await withChunks(range, (byteLength) => new Uint8Array(Math.min(byteLength, CHUNK_BYTES)), onChunk);
}

/** Fills what `allocate` gives, from its start again whenever it is full. */
async function withChunks(
  { file, offset, byteLength }: FileRange,
  allocate: (byteLength: number) => Uint8Array,
  onChunk: (chunk: Uint8Array) => void,
): Promise<Uint8Array> {
  try {
    await using handle = await open(file, 'r');
    const { size } = await handle.stat();
    if (offset + byteLength > size) {
      throw damaged(file, size, `the file ends, but a tensor has ${byteLength} bytes from ${offset} on`);
    }
    const into = allocate(byteLength);
    for (let done = 0; done < byteLength; ) {
      const at = done % into.byteLength;
      const wanted = Math.min(CHUNK_BYTES, byteLength - done, into.byteLength - at);
      const { bytesRead } = await handle.read(into, at, wanted, offset + done);
      if (bytesRead === 0) throw damaged(file, offset + done, `the file ended while it was read`);
      onChunk(into.subarray(at, at + bytesRead));
      done += bytesRead;
    }
    return into;
  } catch (caught) {
    if (isAbsence(caught)) throw damaged(file, 0, 'the file is missing', caught);
    throw caught instanceof ServeError ? caught : unreadable(file, caught);
  }
}
