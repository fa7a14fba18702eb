import { gunzip, inflate } from 'node:zlib';
import { ServeError } from '#mesh/errors.ts';

/** A compressed message may become this large, whatever else is allowed: it costs a client a thousandth of it. */
const MOST_BYTES = 512 * 1024 * 1024;

/**
 * Inflates a message on a thread of Node's pool. Rejects with UNIMPLEMENTED for an encoding that nobody here knows, INTERNAL for bytes that are
 * not in it, RESOURCE_EXHAUSTED for more than `maxBytes` or 512 MiB.
 */
export function inflateMessage(encoding: string, message: Buffer, maxBytes: number): Promise<Buffer> {
  if (encoding === '' || encoding === 'identity') {
    return Promise.reject(new ServeError('INTERNAL', 'Invalid message: flagged as compressed, with identity or no grpc-encoding'));
  }
  if (encoding !== 'gzip' && encoding !== 'deflate') {
    return Promise.reject(new ServeError('UNIMPLEMENTED', `Received message compressed with unsupported encoding "${encoding}"`));
  }
  const maxOutputLength = Math.min(MOST_BYTES, maxBytes);
  return new Promise((resolve, reject) => {
    const run = encoding === 'gzip' ? gunzip : inflate;
    // At least one byte: zlib takes no smaller bound.
    run(message, { maxOutputLength: Math.max(1, maxOutputLength) }, (problem, inflated) => {
      if (problem === null && inflated.length <= maxOutputLength) resolve(inflated);
      else if (problem === null || ('code' in problem && problem.code === 'ERR_BUFFER_TOO_LARGE')) {
        const text = `Received message that decompresses to a size larger than ${maxOutputLength}`;
        reject(new ServeError('RESOURCE_EXHAUSTED', text));
      } else reject(new ServeError('INTERNAL', 'Failed to decompress message', { cause: problem }));
    });
  });
}
