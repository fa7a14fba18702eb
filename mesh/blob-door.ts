/** The side of the direct path that holds blobs: a TCP port that serves the chunks of what is on the shelf to members of the mesh. */
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  type DoorAddress,
  decodeQuestion,
  encodeAnswerHead,
  encodeHello,
  isSameProof,
  KEY_BYTES,
  NONCE_BYTES,
  PROOF_BYTES,
  proofOf,
  QUESTION_BYTES,
} from './blob-door-protocol.ts';
import type { BlobShelf } from './blob-shelf.ts';
import type { Clock, Timer } from './clock.ts';
import { ServeError } from './errors.ts';

/** Where a door is opened. */
export interface DoorPlace {
  /** An address or name by which other members reach this process. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** An open door. Disposing it ends all connections; who fetches goes on over the mesh. */
export interface BlobDoor extends AsyncDisposable {
  readonly address: DoorAddress;
  /** Connections of members, and of those that have not proved to be one. */
  readonly connectionCount: number;
}

/** What a door is opened with. */
export interface BlobDoorOptions extends DoorPlace {
  readonly shelf: BlobShelf;
  readonly clock: Clock;
}

/** Connections at once; members have one each. */
const MAX_CONNECTIONS = 1024;
/** Connections at once that have not proved to be a member's. */
const MAX_STRANGERS = 64;
/** Bytes that wait to be sent on one connection; beyond it no further question is read. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** How often connections are looked at. The bounds below are numbers of looks. */
const LOOK_MS = 2000;
/** A stranger has this long for its proof. */
const STRANGER_LOOKS = 2;
/** A member that takes nothing of an answer for this long is closed. */
const STUCK_LOOKS = 15;
/** A connection without a question for this long is closed: longer than a fetcher keeps one that it does not use. */
const IDLE_LOOKS = 90;

/**
 * Opens a door. Rejects with UNAVAILABLE when the port cannot be had. A `host` that is no address of this machine (a forwarded one) is said to
 * the members all the same, and the door then listens on all addresses.
 */
export async function openBlobDoor({ shelf, clock, host, port }: BlobDoorOptions): Promise<BlobDoor> {
  const key = randomBytes(KEY_BYTES);
  const guests = new Set<Guest>();
  let strangers = 0;
  let looking: Timer | undefined;

  function look(): void {
    for (const guest of guests) guest.look();
    looking = clock.schedule(LOOK_MS, look);
  }

  const server = createServer({ noDelay: true }, (socket) => {
    if (strangers >= MAX_STRANGERS) {
      socket.destroy();
      return;
    }
    strangers++;
    const leave = () => {
      if (guest.isStranger) strangers--;
      guests.delete(guest);
    };
    const guest = createGuest(socket, { shelf, key, onKnown: () => strangers--, onLeft: leave });
    guests.add(guest);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, { host, port });
  // A connection that could not be taken: whoever wanted it fetches over the mesh.
  server.on('error', () => {});
  look();
  return {
    address: { host, port: (server.address() as AddressInfo).port, key },
    get connectionCount() {
      return guests.size;
    },
    async [Symbol.asyncDispose]() {
      looking?.[Symbol.dispose]();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const guest of guests) guest.end();
      await closed;
    },
  };
}

/** One connection. */
interface Guest {
  readonly isStranger: boolean;
  look(): void;
  end(): void;
}

interface GuestOptions {
  readonly shelf: BlobShelf;
  readonly key: Uint8Array;
  /** It has proved to be a member. */
  readonly onKnown: () => void;
  readonly onLeft: () => void;
}

function createGuest(socket: Socket, { shelf, key, onKnown, onLeft }: GuestOptions): Guest {
  const holderNonce = randomBytes(NONCE_BYTES);
  let rest: Buffer = Buffer.alloc(0);
  let isStranger = true;
  let paused = false;
  /** Looks since something was asked or taken. */
  let quietLooks = 0;

  function read(chunk: Buffer): void {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    // A stranger's time does not start again with each byte.
    if (isStranger) greet();
    else quietLooks = 0;
    if (!isStranger) answerAll();
  }

  function greet(): void {
    if (rest.byteLength < NONCE_BYTES + PROOF_BYTES) return;
    const secret = { key, holderNonce, fetcherNonce: rest.subarray(0, NONCE_BYTES) };
    if (!isSameProof(rest.subarray(NONCE_BYTES, NONCE_BYTES + PROOF_BYTES), proofOf('fetcher', secret))) {
      socket.destroy();
      return;
    }
    socket.write(proofOf('holder', secret));
    rest = rest.subarray(NONCE_BYTES + PROOF_BYTES);
    isStranger = false;
    quietLooks = 0;
    onKnown();
  }

  /** Answers what was asked until too much waits to be sent. */
  function answerAll(): void {
    let offset = 0;
    socket.cork();
    while (rest.byteLength - offset >= QUESTION_BYTES && !socket.destroyed && socket.writableLength < MAX_QUEUED_BYTES) {
      answer(offset);
      offset += QUESTION_BYTES;
    }
    socket.uncork();
    rest = rest.subarray(offset);
    if (paused === rest.byteLength >= QUESTION_BYTES) return;
    paused = !paused;
    if (paused) socket.pause();
    else socket.resume();
  }

  function answer(offset: number): void {
    const question = decodeQuestion(rest, offset);
    if (question === undefined) {
      socket.destroy();
      return;
    }
    const { claimId, start, length } = question;
    const bytes = shelf.find(claimId);
    const state = bytes === undefined ? 'not-held' : start + length > bytes.byteLength ? 'outside' : 'held';
    if (bytes === undefined || state !== 'held') {
      socket.write(encodeAnswerHead(state, 0));
      return;
    }
    socket.write(encodeAnswerHead(state, length));
    socket.write(bytes.subarray(start, start + length), onTaken);
  }

  function onTaken(): void {
    quietLooks = 0;
    if (paused) answerAll();
  }

  socket.on('data', read);
  // Its close follows.
  socket.on('error', () => {});
  socket.on('close', onLeft);
  socket.write(encodeHello(holderNonce));
  return {
    get isStranger() {
      return isStranger;
    },
    look() {
      quietLooks++;
      const bound = isStranger ? STRANGER_LOOKS : socket.writableLength > 0 ? STUCK_LOOKS : IDLE_LOOKS;
      if (quietLooks >= bound) socket.destroy();
    },
    end: () => socket.destroy(),
  };
}

async function listen(server: Server, { host, port }: DoorPlace): Promise<void> {
  const attempt = (address: string) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, address, () => {
        server.off('error', reject);
        resolve();
      });
    });
  try {
    await attempt(host).catch((caught: NodeJS.ErrnoException) => {
      server.removeAllListeners('error');
      if (caught.code !== 'EADDRNOTAVAIL' && caught.code !== 'ENOTFOUND') throw caught;
      return attempt('0.0.0.0');
    });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new ServeError('UNAVAILABLE', `the port for tensors (tensor_port) cannot be opened: ${text}`, { cause });
  }
}
