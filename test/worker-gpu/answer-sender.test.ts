import { describe, expect, test } from '@jest/globals';
import { createBlobShelf } from '#mesh/blob-shelf.ts';
import { newMemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { createAnswerSender } from '../../services/worker-gpu/answer-sender.ts';

const CLAIMED = 1000;

function startSender() {
  const shelf = createBlobShelf();
  const holder = newMemberId('worker');
  const sender = createAnswerSender({
    transport: createMemoryBroker().connect(),
    subjects: createSubjects('test'),
    inlineTensorBytes: CLAIMED - 1,
    hold: (bytes) => ({ holder, claimId: shelf.put(bytes), byteLength: bytes.byteLength }),
    onUnsent: (_, error) => {
      throw error;
    },
  });
  const held = (output: Parameters<typeof sender.wire>[0][number]) => {
    const [wire] = sender.wire([output]);
    return wire?.payload.type === 'claim' ? shelf.find(wire.payload.claimId) : undefined;
  };
  return { held };
}

const output = (bytes: Uint8Array) => ({ name: 'y', dtype: 'uint8' as const, shape: [bytes.byteLength], bytes });

describe('large outputs on their way', () => {
  test('are copied out of memory that the next run will use', () => {
    const { held } = startSender();
    const region = new Uint8Array(4096).fill(1);
    const kept = held(output(region.subarray(0, CLAIMED)));
    region.fill(2);
    expect(kept).toEqual(new Uint8Array(CLAIMED).fill(1));
  });

  test('are held as they are when they last', () => {
    const { held } = startSender();
    const bytes = new Uint8Array(CLAIMED);
    expect(held({ ...output(bytes), lasting: true })).toBe(bytes);
  });

  test('are copied when they are a few rows of a batch, whose memory would be held with them', () => {
    const { held } = startSender();
    const batch = new Uint8Array(10 * CLAIMED).fill(3);
    const kept = held({ ...output(batch.subarray(CLAIMED, 2 * CLAIMED)), lasting: true });
    expect(kept).toEqual(new Uint8Array(CLAIMED).fill(3));
    expect(kept?.buffer.byteLength).toBe(CLAIMED);
  });
});
