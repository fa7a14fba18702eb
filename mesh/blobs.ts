/**
 * Claims: bytes too large for a message stay with their holder, and a claim travels in their place. Whoever needs the bytes fetches them in
 * chunks below the transport's `maxPayloadBytes`, a few at a time, so that neither broker nor holder ever buffers the whole.
 */
import { ByteReader, ByteWriter } from './bytes.ts';
import { ServeError, toServeError } from './errors.ts';
import { type ClaimId, createSequence, type MemberId } from './ids.ts';
import type { Subjects } from './subjects.ts';
import type { Transport } from './transport.ts';

/** A claim on bytes held elsewhere. */
export interface Claim {
  readonly holder: MemberId;
  readonly claimId: ClaimId;
  readonly byteLength: number;
}

/** Holds blobs for others and fetches theirs. */
export interface BlobStore extends AsyncDisposable {
  /** Holds bytes until released. The bytes must not change while held. `onReleased` is called once they are, whoever had it done. */
  hold(bytes: Uint8Array, onReleased?: () => void): Claim;
  /** Lets go of a blob; a claim on it is NOT_FOUND from then on. Releasing twice does nothing. */
  release(claimId: ClaimId): void;
  /** Bytes held now, for metrics. */
  readonly heldBytes: number;
  /**
   * Fetches all bytes of a claim, from this store itself without a message when it is the holder. With `into`, writes there (it must have
   * `byteLength` bytes) and returns it; without, may return the holder's own bytes when they are in this process. Rejects with NOT_FOUND
   * when the holder has let go, UNAVAILABLE when it is gone, DEADLINE_EXCEEDED after `timeoutMs` without a chunk.
   */
  fetch(
    claim: Claim,
    options: { readonly signal: AbortSignal; readonly timeoutMs: number; readonly into?: Uint8Array },
  ): Promise<Uint8Array>;
  /** Tells the holder of a claim that nobody will fetch it again, so that it lets go. A hint: the holder has a bound of its own. */
  finished(claim: Claim): void;
}

/** What a blob store needs; chunk and window bound how much of a fetch is under way. */
export interface BlobStoreOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly id: MemberId;
  /** Bytes of one chunk; default 512 KiB, and never above half of the transport's limit. */
  readonly chunkBytes?: number;
  /** Chunks under way at once; default 4. */
  readonly window?: number;
  /** Told of every question that cannot be read or answered; it is dropped. */
  readonly onUnreadable?: (subject: string, error: ServeError) => void;
}

/** Starts a blob store that serves its blobs to the mesh. */
export function startBlobStore(options: BlobStoreOptions): BlobStore {
  const { transport, subjects, id, window = 4 } = options;
  const chunkBytes = Math.min(options.chunkBytes ?? 512 * 1024, Math.floor(transport.maxPayloadBytes / 2));
  const blobs = new Map<ClaimId, { readonly bytes: Uint8Array; readonly onReleased: (() => void) | undefined }>();
  const nextClaimId = createSequence<ClaimId>();
  let heldBytes = 0;

  const subscription = transport.subscribe(subjects.blob(id), (message) => {
    try {
      serve(new ByteReader(message.data), message.replyTo);
    } catch (caught) {
      options.onUnreadable?.(subjects.blob(id), toServeError(caught));
    }
  });

  function serve(question: ByteReader, replyTo: string | undefined): void {
    const claimId = question.f64() as ClaimId;
    // A message that wants no answer says that its sender was the last to fetch.
    if (replyTo === undefined) {
      release(claimId);
      return;
    }
    const start = question.f64();
    const length = question.f64();
    const isChunk = Number.isSafeInteger(start) && start >= 0 && Number.isSafeInteger(length) && length > 0;
    if (!isChunk) throw new ServeError('DATA_LOSS', `a chunk of ${length} bytes at ${start} of claim ${claimId} was asked for`);
    const blob = blobs.get(claimId)?.bytes;
    // An empty answer says "not held": a chunk is never empty.
    transport.publish(replyTo, blob === undefined ? new Uint8Array(0) : blob.subarray(start, start + length));
  }

  function release(claimId: ClaimId): void {
    const held = blobs.get(claimId);
    if (held === undefined) return;
    heldBytes -= held.bytes.byteLength;
    blobs.delete(claimId);
    held.onReleased?.();
  }

  async function fetchChunk(claim: Claim, start: number, signal: AbortSignal, timeoutMs: number): Promise<Uint8Array> {
    const length = Math.min(chunkBytes, claim.byteLength - start);
    const question = new ByteWriter(24).f64(claim.claimId).f64(start).f64(length).finish();
    const chunk = await transport.request(subjects.blob(claim.holder), question, { timeoutMs, signal });
    if (chunk.byteLength === 0) throw notHeld(claim);
    if (chunk.byteLength !== length)
      throw new ServeError(
        'DATA_LOSS',
        `chunk at ${start} of claim ${claim.claimId} has ${chunk.byteLength} bytes, ${length} were asked for`,
      );
    return chunk;
  }

  return {
    get heldBytes() {
      return heldBytes;
    },
    hold(bytes, onReleased) {
      const claimId = nextClaimId();
      blobs.set(claimId, { bytes, onReleased });
      heldBytes += bytes.byteLength;
      return { holder: id, claimId, byteLength: bytes.byteLength };
    },
    release,
    finished(claim) {
      if (claim.holder === id) release(claim.claimId);
      else if (transport.connected) transport.publish(subjects.blob(claim.holder), new ByteWriter(16).f64(claim.claimId).finish());
    },
    async fetch(claim, { signal, timeoutMs, into }) {
      if (claim.holder === id) {
        const own = blobs.get(claim.claimId)?.bytes;
        if (own === undefined) throw notHeld(claim);
        if (own.byteLength !== claim.byteLength)
          throw new ServeError('DATA_LOSS', `claim ${claim.claimId} has ${own.byteLength} bytes, not ${claim.byteLength}`);
        if (into === undefined) return own;
        into.set(own);
        return into;
      }
      if (claim.byteLength <= chunkBytes && into === undefined) return fetchChunk(claim, 0, signal, timeoutMs);
      const whole = into ?? new Uint8Array(claim.byteLength);
      let next = 0;
      async function fetchMore(): Promise<void> {
        while (next < claim.byteLength) {
          const start = next;
          next += chunkBytes;
          whole.set(await fetchChunk(claim, start, signal, timeoutMs), start);
        }
      }
      await Promise.all(Array.from({ length: Math.min(window, Math.ceil(claim.byteLength / chunkBytes)) }, fetchMore));
      return whole;
    },
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      blobs.clear();
      heldBytes = 0;
    },
  };
}

function notHeld(claim: Claim): ServeError {
  return new ServeError('NOT_FOUND', `${claim.holder} no longer holds claim ${claim.claimId}`);
}
