import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BlobStore } from '#mesh/blobs.ts';
import type { MemberId } from '#mesh/ids.ts';

/** Two members of one mesh. */
export interface BlobPair extends AsyncDisposable {
  readonly holder: BlobStore;
  readonly fetcher: BlobStore;
  /** Resolves once everything published so far has arrived. */
  settled(): Promise<void>;
  /** Throws when the bytes fetched so far took another way than the implementation is about. */
  checkPath?(): Promise<void>;
}

/** Bytes that say where they are. */
export function patternBytes(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = (index + seed) * 31 + (index >> 8);
  return bytes;
}

/** What `BlobStore` promises, run over an implementation. */
export function blobsContract(name: string, start: () => Promise<BlobPair>): void {
  describe(`blobs contract: ${name}`, () => {
    let pair: BlobPair;
    beforeAll(async () => {
      pair = await start();
    });
    afterAll(async () => {
      await pair.checkPath?.();
      await pair[Symbol.asyncDispose]();
    });
    const patience = () => ({ signal: new AbortController().signal, timeoutMs: 5000 });
    const same = (one: Uint8Array, other: Uint8Array) => expect(Buffer.compare(one, other)).toBe(0);

    test.each([1, 65_537, 524_288, 524_289, 1_048_577, 5_000_000])('%i bytes arrive whole', async (length) => {
      const bytes = patternBytes(length);
      const claim = pair.holder.hold(bytes);
      same(await pair.fetcher.fetch(claim, patience()), bytes);
      pair.holder.release(claim.claimId);
    });

    test('bytes arrive in a place of the caller, shared memory or not, and beside it nothing changes', async () => {
      const bytes = patternBytes(1_500_000, 3);
      const claim = pair.holder.hold(bytes);
      for (const memory of [new SharedArrayBuffer(1_500_100), new ArrayBuffer(1_500_100)]) {
        const place = new Uint8Array(memory, 50, 1_500_000);
        expect(await pair.fetcher.fetch(claim, { ...patience(), into: place })).toBe(place);
        same(Buffer.from(place), bytes);
        expect([...new Uint8Array(memory, 0, 50), ...new Uint8Array(memory, 1_500_050)].every((byte) => byte === 0)).toBe(true);
      }
      pair.holder.release(claim.claimId);
    });

    test('fetches at the same time get their own bytes', async () => {
      const all = Array.from({ length: 12 }, (_, index) => patternBytes(100_000 + 150_000 * index, index));
      const claims = all.map((bytes) => pair.holder.hold(bytes));
      const fetched = await Promise.all(claims.map((claim) => pair.fetcher.fetch(claim, patience())));
      for (const [index, bytes] of fetched.entries()) same(bytes, all[index] ?? new Uint8Array(0));
      for (const claim of claims) pair.holder.release(claim.claimId);
      expect(pair.holder.heldBytes).toBe(0);
    });

    test('the holder fetches its own without a message', async () => {
      const bytes = patternBytes(70_000);
      const claim = pair.holder.hold(bytes);
      expect(await pair.holder.fetch(claim, patience())).toBe(bytes);
      pair.holder.release(claim.claimId);
    });

    test('a released claim is not found, and its release is told once', async () => {
      let releases = 0;
      const claim = pair.holder.hold(patternBytes(70_000), () => releases++);
      pair.holder.release(claim.claimId);
      pair.holder.release(claim.claimId);
      expect(releases).toBe(1);
      expect(pair.holder.heldBytes).toBe(0);
      await expect(pair.fetcher.fetch(claim, patience())).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(pair.holder.fetch(claim, patience())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('the holder lets go when the last fetcher says so', async () => {
      const claim = pair.holder.hold(patternBytes(70_000));
      await pair.fetcher.fetch(claim, patience());
      pair.fetcher.finished(claim);
      await pair.settled();
      expect(pair.holder.heldBytes).toBe(0);
    });

    test('a claim that announces more than is held is refused as damaged', async () => {
      const claim = pair.holder.hold(patternBytes(70_000));
      await expect(pair.fetcher.fetch({ ...claim, byteLength: 70_001 }, patience())).rejects.toMatchObject({ code: 'DATA_LOSS' });
      pair.holder.release(claim.claimId);
    });

    test('a fetch ends at once when its caller leaves, and disturbs no other', async () => {
      const bytes = patternBytes(3_000_000);
      const claim = pair.holder.hold(bytes);
      const leaving = new AbortController();
      const left = pair.fetcher.fetch(claim, { signal: leaving.signal, timeoutMs: 5000 });
      const staying = pair.fetcher.fetch(claim, patience());
      leaving.abort(new Error('left'));
      await expect(left).rejects.toThrow('left');
      await expect(pair.fetcher.fetch(claim, { signal: leaving.signal, timeoutMs: 5000 })).rejects.toThrow('left');
      same(await staying, bytes);
      pair.holder.release(claim.claimId);
    });

    test('a holder that is not there is unavailable', async () => {
      const claim = { ...pair.holder.hold(patternBytes(10)), holder: 'worker-gone' as MemberId };
      await expect(pair.fetcher.fetch(claim, patience())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      pair.holder.release(claim.claimId);
    });
  });
}
