import { createServer, type Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { encodeAnswerHead } from '#mesh/blob-door-protocol.ts';
import { patternBytes } from '../contract/blobs.contract.ts';
import { startDirectRig, startFakeDoor, turn, until } from './direct-rig.ts';

const patience = () => ({ signal: new AbortController().signal, timeoutMs: 5000 });
const BYTES = patternBytes(5_000_000);
const isWhole = (bytes: Uint8Array) => expect(Buffer.compare(bytes, BYTES)).toBe(0);

describe('fetching directly', () => {
  test('the first fetch does not wait for a connection, and later ones use it', async () => {
    await using rig = await startDirectRig();
    const claim = rig.holder.hold(BYTES);
    isWhole(await rig.fetcher.fetch(claim, patience()));
    expect(rig.came.mesh).toBeGreaterThan(0);
    await rig.untilDirect();
    const { direct, mesh } = rig.came;
    isWhole(await rig.fetcher.fetch(claim, patience()));
    expect(rig.came).toEqual({ direct: direct + BYTES.byteLength, mesh });
    expect(rig.failures).toEqual([]);
    expect(rig.door.connectionCount).toBe(1);
  });

  test('a holder without a door is asked for one once a minute, and serves over the mesh', async () => {
    await using rig = await startDirectRig({ address: () => undefined });
    const claim = rig.holder.hold(BYTES);
    for (let round = 0; round < 5; round++) isWhole(await rig.fetcher.fetch(claim, patience()));
    await rig.untilFailures(1);
    await rig.clock.advance(59_000);
    isWhole(await rig.fetcher.fetch(claim, patience()));
    await turn();
    expect(rig.failures).toEqual(['no-door']);
    await rig.clock.advance(2000);
    isWhole(await rig.fetcher.fetch(claim, patience()));
    await rig.untilFailures(2);
    expect(rig.came.direct).toBe(0);
  });

  test('a port that nobody listens on is tried again after a second, then after two', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { readonly port: number };
    await new Promise((resolve) => server.close(resolve));
    await using rig = await startDirectRig({ address: (real) => ({ ...real, port }) });
    const claim = rig.holder.hold(BYTES);
    for (const [pauseMs, failures] of [
      [0, 1],
      [1000, 2],
      [1999, 2],
      [1, 3],
    ] as const) {
      await rig.clock.advance(pauseMs);
      isWhole(await rig.fetcher.fetch(claim, patience()));
      await rig.untilFailures(failures);
      await turn();
      expect(rig.failures).toEqual(Array(failures).fill('unreachable'));
    }
  });

  test('a connection that is cut in the middle of chunks costs no byte, and is made again', async () => {
    await using rig = await startDirectRig();
    const claim = rig.holder.hold(BYTES);
    await rig.untilDirect();
    rig.proxy.set('silent');
    const fetching = rig.fetcher.fetch(claim, patience());
    await turn();
    rig.proxy.set('cut');
    isWhole(await fetching);
    expect(rig.failures).toEqual(['reset']);
    rig.proxy.set('open');
    await rig.clock.advance(1000);
    await rig.untilDirect();
    isWhole(await rig.fetcher.fetch(claim, patience()));
  });

  test('a partition between the two alone is seen within two seconds, and the mesh brings the rest', async () => {
    await using rig = await startDirectRig();
    const claim = rig.holder.hold(BYTES);
    await rig.untilDirect();
    rig.proxy.set('silent');
    const place = new Uint8Array(new SharedArrayBuffer(BYTES.byteLength));
    const fetching = rig.fetcher.fetch(claim, { ...patience(), into: place });
    await rig.clock.advance(2000);
    await fetching;
    isWhole(Buffer.from(place));
    expect(rig.failures).toEqual(['stalled']);
  });

  test('the door closing ends its connections, and fetches go on over the mesh', async () => {
    await using rig = await startDirectRig();
    const claim = rig.holder.hold(BYTES);
    await rig.untilDirect();
    const fetching = rig.fetcher.fetch(claim, patience());
    await rig.door[Symbol.asyncDispose]();
    isWhole(await fetching);
    expect(rig.failures).toEqual(['reset']);
  });

  test('an unused connection is closed after two minutes and opened when it is needed again', async () => {
    await using rig = await startDirectRig();
    await rig.untilDirect();
    await rig.clock.advance(125_000);
    await until('the connection to be closed', () => rig.door.connectionCount === 0);
    expect(rig.failures).toEqual([]);
    await rig.untilDirect();
    expect(rig.door.connectionCount).toBe(1);
  });
});

describe('a holder that answers wrongly', () => {
  const half = (length: number) => BYTES.subarray(0, length / 2);
  const faults: Readonly<Record<string, (socket: Socket, length: number) => void>> = {
    'dies in the middle of a chunk': (socket, length) => {
      socket.write(encodeAnswerHead('held', length));
      socket.write(half(length), () => socket.destroy());
    },
    'announces fewer bytes than were asked for': (socket, length) => {
      socket.write(encodeAnswerHead('held', length - 1));
      socket.write(BYTES.subarray(0, length - 1));
    },
    'announces more bytes than were asked for': (socket, length) => {
      socket.write(encodeAnswerHead('held', length + 1));
      socket.write(BYTES.subarray(0, length + 1));
    },
    'announces four billion bytes': (socket) => void socket.write(encodeAnswerHead('held', 2 ** 32 - 1)),
    'gives bytes to what it does not hold': (socket) => void socket.write(encodeAnswerHead('not-held', 8)),
    'answers in a state that there is not': (socket) => void socket.write(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0])),
    'talks garbage': (socket) => void socket.write(Buffer.alloc(1000, 0xff)),
  };

  test.each(Object.keys(faults))('%s: the bytes come over the mesh', async (name) => {
    await using fake = await startFakeDoor(({ length }, socket) => faults[name]?.(socket, length));
    await using rig = await startDirectRig({ address: () => fake.address });
    const claim = rig.holder.hold(BYTES);
    const fetches: Promise<Uint8Array>[] = [];
    await until('a question', () => {
      fetches.push(rig.fetcher.fetch(claim, patience()));
      return fake.questions.length > 0;
    });
    await rig.untilFailures(1);
    for (const bytes of await Promise.all(fetches)) isWhole(bytes);
    expect(rig.failures).toEqual([name.startsWith('dies') ? 'reset' : 'broken']);
    expect(fake.questions.length).toBeGreaterThan(0);
    expect(rig.came.direct).toBe(0);
  });

  test('sends a byte now and then: a chunk has ten seconds', async () => {
    const asked: Socket[] = [];
    await using fake = await startFakeDoor(({ length }, socket) => {
      socket.write(encodeAnswerHead('held', length));
      asked.push(socket);
    });
    await using rig = await startDirectRig({ address: () => fake.address });
    const claim = rig.holder.hold(BYTES);
    const fetches: Promise<Uint8Array>[] = [];
    await until('a question', () => {
      if (asked.length === 0) fetches.push(rig.fetcher.fetch(claim, patience()));
      return asked.length > 0;
    });
    for (let byte = 0; byte < 24; byte++) {
      asked[0]?.write(Buffer.of(1));
      await turn();
      await rig.clock.advance(500);
    }
    for (const bytes of await Promise.all(fetches)) isWhole(bytes);
    expect(rig.failures).toEqual(['stalled']);
  });

  test('a stranger behind the address, who does not know the key, is asked nothing', async () => {
    await using fake = await startFakeDoor(() => {});
    await using rig = await startDirectRig({ address: () => ({ ...fake.address, key: new Uint8Array(32).fill(8) }) });
    const claim = rig.holder.hold(BYTES);
    isWhole(await rig.fetcher.fetch(claim, patience()));
    await rig.untilFailures(1);
    expect(rig.failures).toEqual(['stranger']);
    expect(fake.questions).toEqual([]);
  });
});
