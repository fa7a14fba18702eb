/**
 * Claims: bytes too large for a message stay with their holder, and a claim travels in their place. Whoever needs the bytes fetches them in
 * chunks, a few at a time, so that neither broker nor holder ever buffers the whole. The mesh's transport carries chunks always; where members
 * reach each other directly (see `blobs-direct.ts`) most chunks skip the broker.
 */
import { type BlobLine, LineLost } from './blob-line.ts';
import type { BlobLines } from './blob-lines.ts';
import { type BlobShelf, createBlobShelf } from './blob-shelf.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { ServeError, toServeError } from './errors.ts';
import type { ClaimId, MemberId } from './ids.ts';
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
  /**
   * Holds bytes until released. The bytes must not change while held, nor afterwards: a chunk of them may still be on its way. `onReleased` is
   * called once they are released, whoever had it done.
   */
  hold(bytes: Uint8Array, onReleased?: () => void): Claim;
  /** Lets go of a blob; a claim on it is NOT_FOUND from then on. Releasing twice does nothing. */
  release(claimId: ClaimId): void;
  /** Bytes held now, for metrics. */
  readonly heldBytes: number;
  /**
   * Fetches all bytes of a claim, from this store itself without a message when it is the holder. With `into`, writes there (it must have
   * `byteLength` bytes) and returns it; without, may return the holder's own bytes when they are in this process. Rejects with NOT_FOUND
   * when the holder has let go, UNAVAILABLE when it is gone, DEADLINE_EXCEEDED after `timeoutMs` without a chunk. After a rejection parts of
   * `into` may have been written, and a late chunk may still be.
   */
  fetch(
    claim: Claim,
    options: { readonly signal: AbortSignal; readonly timeoutMs: number; readonly into?: Uint8Array },
  ): Promise<Uint8Array>;
  /** Tells the holder of a claim that nobody will fetch it again, so that it lets go. A hint: the holder has a bound of its own. */
  finished(claim: Claim): void;
}

/** Which way a chunk came; a metric's label. */
export type ChunkPath = 'direct' | 'mesh';

/** What a blob store needs; chunk and window bound how much of a fetch is under way. */
export interface BlobStoreOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly id: MemberId;
  /**
   * Bytes of one chunk over the transport, and never above half of its limit. Default: 512 KiB, or that half where the limit is larger than any
   * broker's: such a transport hands bytes on inside the process.
   */
  readonly chunkBytes?: number;
  /** Chunks under way at once; default 4. */
  readonly window?: number;
  /** Told of every question that cannot be read or answered; it is dropped. */
  readonly onUnreadable?: (subject: string, error: ServeError) => void;
  /** Told of every chunk that came. */
  readonly onChunk?: (path: ChunkPath, byteLength: number) => void;
  /** Where blobs are held; default: a shelf of its own. */
  readonly shelf?: BlobShelf;
  /** Direct connections to holders; the caller disposes them. Default: none. */
  readonly lines?: BlobLines;
}

/** No broker takes larger messages. */
const LARGEST_BROKER_PAYLOAD_BYTES = 64 * 1024 * 1024;
const BROKER_CHUNK_BYTES = 512 * 1024;
/** Bytes of one chunk over a direct connection. */
const DIRECT_CHUNK_BYTES = 1024 * 1024;

/** What a fetch is bounded by. */
interface Patience {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Starts a blob store that serves its blobs to the mesh. */
export function startBlobStore(options: BlobStoreOptions): BlobStore {
  const { transport, subjects, id, window = 4, shelf = createBlobShelf(), lines } = options;
  const isInProcess = transport.maxPayloadBytes > LARGEST_BROKER_PAYLOAD_BYTES;
  const halfBytes = Math.floor(transport.maxPayloadBytes / 2);
  const chunkBytes = Math.min(options.chunkBytes ?? (isInProcess ? halfBytes : BROKER_CHUNK_BYTES), halfBytes);

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
      shelf.take(claimId);
      return;
    }
    const start = question.f64();
    const length = question.f64();
    const isChunk = Number.isSafeInteger(start) && start >= 0 && Number.isSafeInteger(length) && length > 0;
    if (!isChunk) throw new ServeError('DATA_LOSS', `a chunk of ${length} bytes at ${start} of claim ${claimId} was asked for`);
    const blob = shelf.find(claimId);
    // An empty answer says "not held": a chunk is never empty.
    transport.publish(replyTo, blob === undefined ? new Uint8Array(0) : blob.subarray(start, start + length));
  }

  /** A chunk over the transport: at most `chunkBytes`. */
  async function askForChunk(claim: Claim, start: number, length: number, { signal, timeoutMs }: Patience): Promise<Uint8Array> {
    const question = new ByteWriter(24).f64(claim.claimId).f64(start).f64(length).finish();
    const chunk = await transport.request(subjects.blob(claim.holder), question, { timeoutMs, signal });
    if (chunk.byteLength === 0) throw notHeld(claim);
    if (chunk.byteLength !== length)
      throw new ServeError(
        'DATA_LOSS',
        `chunk at ${start} of claim ${claim.claimId} has ${chunk.byteLength} bytes, ${length} were asked for`,
      );
    options.onChunk?.('mesh', length);
    return chunk;
  }

  /** Has a chunk written into `target` over a direct connection. False when the connection ended meanwhile: it has to come another way. */
  async function fetchDirectly(line: BlobLine, claim: Claim, start: number, target: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const length = target.byteLength;
    try {
      const state = await orAborted(line.fetch({ claimId: claim.claimId, start, length }, target), signal);
      if (state === 'not-held') throw notHeld(claim);
      if (state === 'outside')
        throw new ServeError('DATA_LOSS', `claim ${claim.claimId} has fewer bytes than the ${claim.byteLength} that it announces`);
      options.onChunk?.('direct', length);
      return true;
    } catch (caught) {
      if (caught instanceof LineLost) return false;
      throw caught;
    }
  }

  /** Fetches all of a claim into `whole`, each chunk by the best way there is at its turn. */
  async function fetchInto(claim: Claim, whole: Uint8Array, patience: Patience): Promise<void> {
    let next = 0;
    let failed = false;
    async function fetchMore(): Promise<void> {
      while (next < claim.byteLength && !failed) {
        const line = lines?.to(claim.holder);
        const start = next;
        const end = Math.min(claim.byteLength, start + (line === undefined ? chunkBytes : DIRECT_CHUNK_BYTES));
        next = end;
        if (line !== undefined && (await fetchDirectly(line, claim, start, whole.subarray(start, end), patience.signal))) continue;
        for (let at = start; at < end; at += chunkBytes)
          whole.set(await askForChunk(claim, at, Math.min(chunkBytes, end - at), patience), at);
      }
    }
    const chunks = Math.ceil(claim.byteLength / Math.min(chunkBytes, DIRECT_CHUNK_BYTES));
    try {
      await Promise.all(Array.from({ length: Math.min(window, chunks) }, fetchMore));
    } catch (caught) {
      // The others need not bring what nobody wants any more.
      failed = true;
      throw caught;
    }
  }

  return {
    get heldBytes() {
      return shelf.heldBytes;
    },
    hold: (bytes, onReleased) => ({ holder: id, claimId: shelf.put(bytes, onReleased), byteLength: bytes.byteLength }),
    release: (claimId) => shelf.take(claimId),
    finished(claim) {
      if (claim.holder === id) shelf.take(claim.claimId);
      else if (transport.connected) transport.publish(subjects.blob(claim.holder), new ByteWriter(16).f64(claim.claimId).finish());
    },
    async fetch(claim, { signal, timeoutMs, into }) {
      signal.throwIfAborted();
      if (claim.holder === id) {
        const own = shelf.find(claim.claimId);
        if (own === undefined) throw notHeld(claim);
        if (own.byteLength !== claim.byteLength)
          throw new ServeError('DATA_LOSS', `claim ${claim.claimId} has ${own.byteLength} bytes, not ${claim.byteLength}`);
        if (into === undefined) return own;
        into.set(own);
        return into;
      }
      // One chunk that needs no place of its own: it stays where the transport has put it.
      if (into === undefined && claim.byteLength <= chunkBytes && lines?.to(claim.holder) === undefined)
        return askForChunk(claim, 0, claim.byteLength, { signal, timeoutMs });
      const whole = into ?? new Uint8Array(Buffer.allocUnsafeSlow(claim.byteLength).buffer);
      await fetchInto(claim, whole, { signal, timeoutMs });
      return whole;
    },
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      shelf.clear();
    },
  };
}

function notHeld(claim: Claim): ServeError {
  return new ServeError('NOT_FOUND', `${claim.holder} no longer holds claim ${claim.claimId}`);
}

/** What a promise resolves with, or the signal's reason as soon as it aborts. */
function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}
