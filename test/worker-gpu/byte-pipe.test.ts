import { duplexPair } from 'node:stream';
import { expect, test } from '@jest/globals';
import { carry, createBytePipe, uncarry } from '../../services/worker-gpu/byte-pipe.ts';

function setUp() {
  const [one, other] = duplexPair();
  return { here: createBytePipe(one), there: createBytePipe(other) };
}

const bytesOf = (length: number, seed: number) => Uint8Array.from({ length }, (_, index) => (index * 31 + seed) % 251);

test('bytes arrive as they were sent, cut as they are asked for, in both directions', async () => {
  const { here, there } = setUp();
  const sent = bytesOf(500_000, 1);
  const back = bytesOf(70_000, 2);
  here.write(sent);
  there.write(back);
  const cuts = [0, 1, 4095, 200_000, 500_000];
  const taken = await Promise.all(cuts.slice(1).map((end, index) => there.take(end - (cuts[index] ?? 0))));
  expect(Buffer.compare(Buffer.concat(taken), sent)).toBe(0);
  expect(Buffer.compare(await here.take(back.byteLength), back)).toBe(0);
});

test('who asks before anything is sent gets it when it comes, and nothing is asked for in vain', async () => {
  const { here, there } = setUp();
  const waiting = [there.take(3), there.take(0), there.take(2)];
  here.write(Uint8Array.of(1, 2));
  here.write(Uint8Array.of(3, 4, 5));
  expect((await Promise.all(waiting)).map((bytes) => [...bytes])).toEqual([[1, 2, 3], [], [4, 5]]);
});

test.each([0, 5, 128 * 1024, 300_001])('%d bytes are carried to the start of memory of their own', async (length) => {
  const { here, there } = setUp();
  // As it would lie in a message: at any address.
  const bytes = bytesOf(length + 3, 7).subarray(3);
  const memory = await uncarry(there, carry(here, bytes));
  expect(Buffer.compare(new Uint8Array(memory), bytes)).toBe(0);
});
