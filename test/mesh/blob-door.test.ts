import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { type BlobDoor, openBlobDoor } from '#mesh/blob-door.ts';
import {
  type DoorAddress,
  decodeDoorAddress,
  decodeHello,
  encodeDoorAddress,
  encodeQuestion,
  HELLO_BYTES,
  MAX_CHUNK_BYTES,
  NONCE_BYTES,
  PROOF_BYTES,
  proofOf,
} from '#mesh/blob-door-protocol.ts';
import { createBlobShelf } from '#mesh/blob-shelf.ts';
import { createFakeClock } from '#mesh/clock.ts';
import type { ClaimId } from '#mesh/ids.ts';
import { patternBytes } from '../contract/blobs.contract.ts';
import { turn, until } from './direct-rig.ts';

const FETCHER_NONCE = new Uint8Array(NONCE_BYTES).fill(5);

/** A connection to a door, read by hand. */
interface Guest extends Disposable {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  /** All that came so far. */
  read(): Buffer;
  untilBytes(count: number): Promise<Buffer>;
}

async function enter({ address: { host, port } }: BlobDoor): Promise<Guest> {
  const socket = connect(port, host);
  const chunks: Buffer[] = [];
  let byteLength = 0;
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    byteLength += chunk.byteLength;
  });
  await once(socket, 'connect');
  const read = () => Buffer.concat(chunks);
  return {
    socket,
    closed: new Promise((resolve) => socket.once('close', resolve)),
    read,
    async untilBytes(count) {
      await until(`${count} bytes`, () => byteLength >= count);
      return read();
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}

async function prove(guest: Guest, { key }: DoorAddress): Promise<void> {
  const hello = await guest.untilBytes(HELLO_BYTES);
  const holderNonce = decodeHello(hello.subarray(0, HELLO_BYTES));
  if (holderNonce === undefined) throw new Error('the door did not say hello');
  guest.socket.write(Buffer.concat([FETCHER_NONCE, proofOf('fetcher', { key, holderNonce, fetcherNonce: FETCHER_NONCE })]));
}

async function openRig() {
  const clock = createFakeClock();
  const shelf = createBlobShelf();
  const door = await openBlobDoor({ host: '127.0.0.1', port: 0, shelf, clock });
  return { clock, shelf, door, [Symbol.asyncDispose]: () => door[Symbol.asyncDispose]() };
}

describe('a door', () => {
  test.each([
    ['no key', Buffer.alloc(NONCE_BYTES + PROOF_BYTES)],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: somebody.example.org\r\nAccept: */*\r\n\r\n')],
    ['a megabyte of garbage', Buffer.alloc(1_000_000, 0xaa)],
  ])('tells nothing to a guest with %s and closes', async (_, words) => {
    await using rig = await openRig();
    rig.shelf.put(patternBytes(1000));
    using guest = await enter(rig.door);
    guest.socket.write(words);
    guest.socket.write(encodeQuestion({ claimId: 1 as ClaimId, start: 0, length: 1000 }));
    await guest.closed;
    expect(guest.read().byteLength).toBeLessThanOrEqual(HELLO_BYTES);
    expect(rig.door.connectionCount).toBe(0);
  });

  test('takes no proof that was made for another connection', async () => {
    await using rig = await openRig();
    using first = await enter(rig.door);
    const hello = await first.untilBytes(HELLO_BYTES);
    const holderNonce = decodeHello(hello) ?? new Uint8Array(0);
    const heard = Buffer.concat([
      FETCHER_NONCE,
      proofOf('fetcher', { key: rig.door.address.key, holderNonce, fetcherNonce: FETCHER_NONCE }),
    ]);
    using second = await enter(rig.door);
    second.socket.write(heard);
    await second.closed;
    expect(second.read().byteLength).toBeLessThanOrEqual(HELLO_BYTES);
  });

  test('answers questions that came in pieces, in their order', async () => {
    await using rig = await openRig();
    const bytes = patternBytes(3000);
    const claimId = rig.shelf.put(bytes);
    using guest = await enter(rig.door);
    await prove(guest, rig.door.address);
    const questions = Buffer.concat([
      encodeQuestion({ claimId, start: 1000, length: 500 }),
      encodeQuestion({ claimId: 99 as ClaimId, start: 0, length: 5 }),
      encodeQuestion({ claimId, start: 2999, length: 2 }),
      encodeQuestion({ claimId, start: 0, length: 10 }),
    ]);
    for (const byte of questions) {
      guest.socket.write(Buffer.of(byte));
      await turn();
    }
    const before = HELLO_BYTES + PROOF_BYTES;
    const answers = (await guest.untilBytes(before + 8 + 500 + 8 + 8 + 8 + 10)).subarray(before);
    expect([...answers.subarray(0, 8)]).toEqual([0, 0, 0, 0, 0xf4, 1, 0, 0]);
    expect([...answers.subarray(8, 508)]).toEqual([...bytes.subarray(1000, 1500)]);
    expect([...answers.subarray(508, 524)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expect([...answers.subarray(532)]).toEqual([...bytes.subarray(0, 10)]);
  });

  test.each([
    ['no bytes', { start: 0, length: 0 }],
    ['more than a chunk may have', { start: 0, length: MAX_CHUNK_BYTES + 1 }],
    ['a part of a byte', { start: 0, length: 1.5 }],
    ['what lies before the start', { start: -1, length: 1 }],
    ['what is nowhere', { start: Number.NaN, length: 1 }],
    ['endlessly much', { start: 0, length: Number.POSITIVE_INFINITY }],
  ])('closes on a member that asks for %s', async (_, part) => {
    await using rig = await openRig();
    const claimId = rig.shelf.put(patternBytes(1000));
    using guest = await enter(rig.door);
    await prove(guest, rig.door.address);
    await guest.untilBytes(HELLO_BYTES + PROOF_BYTES);
    guest.socket.write(encodeQuestion({ claimId, ...part }));
    await guest.closed;
    expect(guest.read().byteLength).toBe(HELLO_BYTES + PROOF_BYTES);
  });

  test('gives a stranger four seconds for its proof, however busily it sends', async () => {
    await using rig = await openRig();
    using guest = await enter(rig.door);
    await guest.untilBytes(HELLO_BYTES);
    for (let second = 0; second < 4; second++) {
      guest.socket.write(Buffer.of(1));
      await turn();
      await rig.clock.advance(1000);
    }
    await guest.closed;
    expect(rig.door.connectionCount).toBe(0);
  });

  test('lets 64 strangers in at once, and a member when they have gone', async () => {
    await using rig = await openRig();
    const guests: Guest[] = [];
    for (let index = 0; index < 64; index++) {
      const guest = await enter(rig.door);
      await guest.untilBytes(HELLO_BYTES);
      guests.push(guest);
    }
    using refused = await enter(rig.door);
    await refused.closed;
    expect(refused.read().byteLength).toBe(0);
    for (const guest of guests) guest[Symbol.dispose]();
    await until('the strangers to be gone', () => rig.door.connectionCount === 0);
    using member = await enter(rig.door);
    await prove(member, rig.door.address);
    await member.untilBytes(HELLO_BYTES + PROOF_BYTES);
  });

  test('queues no more than a few chunks for a member that takes nothing, and closes on it after half a minute', async () => {
    await using rig = await openRig();
    const claimId = rig.shelf.put(new Uint8Array(MAX_CHUNK_BYTES));
    using guest = await enter(rig.door);
    await prove(guest, rig.door.address);
    await guest.untilBytes(HELLO_BYTES + PROOF_BYTES);
    guest.socket.pause();
    const question = encodeQuestion({ claimId, start: 0, length: MAX_CHUNK_BYTES });
    for (let index = 0; index < 10_000; index++) guest.socket.write(question);
    await rig.clock.advance(31_000);
    expect(rig.door.connectionCount).toBe(0);
  });

  test('serves a member that takes slowly but steadily', async () => {
    await using rig = await openRig();
    const length = 1_000_000;
    const claimId = rig.shelf.put(patternBytes(length));
    using guest = await enter(rig.door);
    await prove(guest, rig.door.address);
    for (let index = 0; index < 40; index++) guest.socket.write(encodeQuestion({ claimId, start: 0, length }));
    const before = HELLO_BYTES + PROOF_BYTES;
    for (let index = 1; index <= 40; index++) {
      await guest.untilBytes(before + index * (8 + length));
      guest.socket.pause();
      await rig.clock.advance(2000);
      guest.socket.resume();
    }
    expect(rig.door.connectionCount).toBe(1);
  });

  test('refuses to open where the port is taken, and says which setting is meant', async () => {
    await using rig = await openRig();
    const { host, port } = rig.door.address;
    await expect(openBlobDoor({ host, port, shelf: rig.shelf, clock: rig.clock })).rejects.toThrow('tensor_port');
  });

  test('listens on all addresses where its own is none of this machine', async () => {
    await using door = await openBlobDoor({ host: '192.0.2.1', port: 0, shelf: createBlobShelf(), clock: createFakeClock() });
    expect(door.address.host).toBe('192.0.2.1');
    const socket = connect(door.address.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
  });
});

describe('what the mesh says of a door', () => {
  test('comes back as it was', () => {
    const address = { host: 'fd00::5', port: 12_345, key: new Uint8Array(32).fill(3) };
    const read = decodeDoorAddress(encodeDoorAddress(address));
    expect({ ...read, key: [...read.key] }).toEqual({ ...address, key: [...address.key] });
  });

  test.each(['', 'null', '[]', '{', '{"host":"h","port":0,"key":""}', '{"host":"h","port":80,"key":"AAAA"}', '{"host":7,"port":80}'])(
    'is refused as damaged when it is %p',
    (text) => {
      expect(() => decodeDoorAddress(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
    },
  );
});
