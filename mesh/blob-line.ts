/** The side of the direct path that fetches: one kept connection to a holder, with many questions on their way at once. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import {
  ANSWER_HEAD_BYTES,
  type ChunkQuestion,
  type ChunkState,
  type DoorAddress,
  decodeAnswerHead,
  decodeHello,
  encodeQuestion,
  HELLO_BYTES,
  isSameProof,
  NONCE_BYTES,
  PROOF_BYTES,
  proofOf,
} from './blob-door-protocol.ts';
import type { Clock, Timer } from './clock.ts';
import { ServeError } from './errors.ts';

/** Why a connection to a holder ended or never began; a metric's label. `idle`: nobody used it. */
export type LineEnd = 'unreachable' | 'stranger' | 'reset' | 'stalled' | 'broken' | 'idle' | 'closed';

/** A question that its connection took with it: nothing is known of the blob, and any other way may still get it. */
export class LineLost extends ServeError {
  constructor(end: LineEnd) {
    super('UNAVAILABLE', `the direct connection to a holder of tensors ended: ${end}`);
  }
}

/** A connection. Disposing it ends it. */
export interface BlobLine extends Disposable {
  /**
   * Has a chunk written into `target`, which must have the length that is asked for. Resolves with what the holder says of it; rejects with
   * LineLost. Part of the chunk may have been written then.
   */
  fetch(question: ChunkQuestion, target: Uint8Array): Promise<ChunkState>;
}

/** What a connection is made with. */
export interface BlobLineOptions {
  readonly address: DoorAddress;
  readonly clock: Clock;
  /** Both sides have proved that they know the key: questions may be asked. */
  readonly onOpen: (line: BlobLine) => void;
  /** Called once, after `onOpen` or instead of it. */
  readonly onEnd: (end: LineEnd) => void;
}

interface Pending {
  readonly target: Uint8Array;
  readonly resolve: (state: ChunkState) => void;
  readonly reject: (error: LineLost) => void;
}

/** How often a connection is looked at. The bounds below are numbers of looks. */
const LOOK_MS = 500;
/** A connection that is not open after this long, or on which something is asked and no byte comes, has failed. */
const SILENT_LOOKS = 3;
/** A single chunk may take this long, however slowly its bytes come. */
const CHUNK_LOOKS = 20;
/** A connection that nobody uses for this long is closed. */
const IDLE_LOOKS = 240;

/**
 * Starts a connection. What arrives is read where it belongs: the system writes the bytes of a chunk into its target, and there is no copy
 * besides.
 */
export function openBlobLine({ address, clock, onOpen, onEnd }: BlobLineOptions): Disposable {
  const fetcherNonce = randomBytes(NONCE_BYTES);
  let pending: Pending[] = [];
  let ended = false;
  let open = false;
  /** Looks without a byte. */
  let silentLooks = 0;
  /** Looks since the first of the pending questions became the first. */
  let headLooks = 0;
  let timer: Timer | undefined;
  /** What comes next is read into `place` from `filled` on; `step` is called when it is full. */
  const words = Buffer.alloc(Math.max(HELLO_BYTES, PROOF_BYTES));
  let place: Uint8Array = words.subarray(0, HELLO_BYTES);
  let filled = 0;
  let step = readHello;
  let wantedProof: Buffer = words;
  const head = Buffer.alloc(ANSWER_HEAD_BYTES);

  const socket = connect({
    host: address.host,
    port: address.port,
    noDelay: true,
    onread: {
      buffer: () => (filled === 0 ? place : place.subarray(filled)),
      callback(byteCount) {
        if (ended) return false;
        silentLooks = 0;
        filled += byteCount;
        if (filled === place.byteLength) step();
        return true;
      },
    },
  });
  socket.on('error', () => end(open ? 'reset' : 'unreachable'));
  socket.on('close', () => end(open ? 'reset' : 'unreachable'));
  timer = clock.schedule(LOOK_MS, look);

  function expect(next: Uint8Array, then: () => void): void {
    place = next;
    filled = 0;
    step = then;
  }

  function readHello(): void {
    const holderNonce = decodeHello(place);
    if (holderNonce === undefined) {
      end('stranger');
      return;
    }
    const secret = { key: address.key, holderNonce, fetcherNonce };
    wantedProof = proofOf('holder', secret);
    socket.write(Buffer.concat([fetcherNonce, proofOf('fetcher', secret)]));
    expect(words.subarray(0, PROOF_BYTES), readProof);
  }

  function readProof(): void {
    if (!isSameProof(place, wantedProof)) {
      end('stranger');
      return;
    }
    open = true;
    expect(head, readHead);
    onOpen({ fetch, [Symbol.dispose]: () => end('closed') });
  }

  function readHead(): void {
    const answer = decodeAnswerHead(head);
    const [first] = pending;
    // Nobody asked, or not for so much: whatever follows cannot be trusted.
    const fits = answer !== undefined && first !== undefined && answer.length === (answer.state === 'held' ? first.target.byteLength : 0);
    if (!fits) end('broken');
    else if (answer.state === 'held') expect(first.target, () => settle('held'));
    else settle(answer.state);
  }

  function settle(state: ChunkState): void {
    headLooks = 0;
    pending.shift()?.resolve(state);
    expect(head, readHead);
  }

  function fetch(question: ChunkQuestion, target: Uint8Array): Promise<ChunkState> {
    return new Promise((resolve, reject) => {
      if (ended) {
        reject(new LineLost('closed'));
        return;
      }
      if (pending.length === 0) {
        silentLooks = 0;
        headLooks = 0;
      }
      pending.push({ target, resolve, reject });
      socket.write(encodeQuestion(question));
    });
  }

  function look(): void {
    silentLooks++;
    headLooks++;
    const waits = !open || pending.length > 0;
    if (waits && (silentLooks >= SILENT_LOOKS || headLooks >= CHUNK_LOOKS)) end(open ? 'stalled' : 'unreachable');
    else if (silentLooks >= IDLE_LOOKS) end('idle');
    else timer = clock.schedule(LOOK_MS, look);
  }

  function end(why: LineEnd): void {
    if (ended) return;
    ended = true;
    timer?.[Symbol.dispose]();
    // From here on nothing is read any more: no late byte gets into a target.
    socket.destroy();
    const lost = pending;
    pending = [];
    for (const { reject } of lost) reject(new LineLost(why));
    onEnd(why);
  }

  return { [Symbol.dispose]: () => end('closed') };
}
