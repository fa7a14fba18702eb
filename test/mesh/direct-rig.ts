import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type BlobDoor, openBlobDoor } from '#mesh/blob-door.ts';
import {
  type ChunkQuestion,
  type DoorAddress,
  decodeQuestion,
  encodeDoorAddress,
  encodeHello,
  KEY_BYTES,
  NONCE_BYTES,
  PROOF_BYTES,
  proofOf,
  QUESTION_BYTES,
} from '#mesh/blob-door-protocol.ts';
import { createBlobLines, type LineFailure } from '#mesh/blob-lines.ts';
import { createBlobShelf } from '#mesh/blob-shelf.ts';
import { type BlobStore, startBlobStore } from '#mesh/blobs.ts';
import { createFakeClock, type FakeClock } from '#mesh/clock.ts';
import { newMemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { startTcpProxy, type TcpProxy } from '../faults/tcp-proxy.ts';

/** A holder and a fetcher, a door with a proxy before it, and what came which way. */
export interface DirectRig extends AsyncDisposable {
  readonly holder: BlobStore;
  readonly fetcher: BlobStore;
  readonly clock: FakeClock;
  readonly door: BlobDoor;
  readonly proxy: TcpProxy;
  /** Bytes that came so far. */
  readonly came: { direct: number; mesh: number };
  readonly failures: LineFailure[];
  /** Resolves once a chunk has come directly. */
  untilDirect(): Promise<void>;
  /** Resolves once this many failures were told. */
  untilFailures(count: number): Promise<void>;
}

/** Starts it over the memory transport; `address` says what the mesh says of the door, default: where the proxy listens. */
export async function startDirectRig(
  options: { readonly address?: (real: DoorAddress) => DoorAddress | undefined; readonly chunkBytes?: number } = {},
): Promise<DirectRig> {
  await using starting = new AsyncDisposableStack();
  const broker = createMemoryBroker();
  const subjects = createSubjects('test');
  const clock = createFakeClock();
  const shelf = createBlobShelf();
  const holderId = newMemberId('holder');
  const door = starting.use(await openBlobDoor({ host: '127.0.0.1', port: 0, shelf, clock }));
  const proxy = starting.use(await startTcpProxy(door.address.port));
  const [here, there] = [starting.use(broker.connect()), starting.use(broker.connect())];
  const said = options.address === undefined ? { ...door.address, port: proxy.port } : options.address(door.address);
  if (said !== undefined) {
    here.subscribe(subjects.blobDoor(holderId), ({ replyTo }) => {
      if (replyTo !== undefined) here.publish(replyTo, encodeDoorAddress(said));
    });
  }
  const failures: LineFailure[] = [];
  const came = { direct: 0, mesh: 0 };
  const lines = starting.use(createBlobLines({ transport: there, subjects, clock, onFailure: ({ reason }) => void failures.push(reason) }));
  const { chunkBytes = 100_000 } = options;
  const holder = starting.use(startBlobStore({ transport: here, subjects, id: holderId, shelf, chunkBytes }));
  const fetcher = starting.use(
    startBlobStore({
      transport: there,
      subjects,
      id: newMemberId('fetcher'),
      chunkBytes,
      lines,
      onChunk(path, byteLength) {
        came[path] += byteLength;
      },
    }),
  );
  const running = starting.move();
  return {
    holder,
    fetcher,
    clock,
    door,
    proxy,
    came,
    failures,
    async untilDirect() {
      const claim = holder.hold(new Uint8Array(10));
      const before = came.direct;
      const bound = AbortSignal.timeout(10_000);
      while (came.direct === before) {
        if (bound.aborted) throw new Error(`nothing came directly: [${failures}]`);
        await fetcher.fetch(claim, { signal: new AbortController().signal, timeoutMs: 5000 });
        await turn();
      }
      holder.release(claim.claimId);
    },
    async untilFailures(count) {
      await until(`${count} failures, not [${failures}]`, () => failures.length >= count);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Lets sockets have their say until something is so. Rejects when it is not within ten seconds. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const bound = AbortSignal.timeout(10_000);
  while (!isSo()) {
    if (bound.aborted) throw new Error(`waited in vain for ${what}`);
    await turn();
  }
}

/** Lets sockets have their say once. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A holder that proves who it is and then does as the test says. */
export interface FakeDoor extends AsyncDisposable {
  readonly address: DoorAddress;
  /** Questions asked so far. */
  readonly questions: ChunkQuestion[];
}

/** Starts one; `answer` is called for each question. */
export async function startFakeDoor(answer: (question: ChunkQuestion, socket: Socket) => void): Promise<FakeDoor> {
  const key = new Uint8Array(KEY_BYTES).fill(7);
  const holderNonce = new Uint8Array(NONCE_BYTES).fill(9);
  const questions: ChunkQuestion[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let rest = Buffer.alloc(0);
    let known = false;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write(encodeHello(holderNonce));
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      if (!known && rest.byteLength >= NONCE_BYTES + PROOF_BYTES) {
        socket.write(proofOf('holder', { key, holderNonce, fetcherNonce: rest.subarray(0, NONCE_BYTES) }));
        rest = rest.subarray(NONCE_BYTES + PROOF_BYTES);
        known = true;
      }
      for (; known && rest.byteLength >= QUESTION_BYTES; rest = rest.subarray(QUESTION_BYTES)) {
        const question = decodeQuestion(rest, 0);
        if (question === undefined) throw new Error('a question that nobody may ask');
        questions.push(question);
        answer(question, socket);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port, key },
    questions,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
