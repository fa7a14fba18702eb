import type { BlobStore, Claim } from '#mesh/blobs.ts';
import { ByteReader } from '#mesh/bytes.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import type { ClaimId, MemberId } from '#mesh/ids.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** How long a gateway has for fetching an output. */
const HELD_MS = 60_000;

/** Outputs too large for a message, held until their gateway has them. */
export interface HeldOutputs extends AsyncDisposable {
  readonly heldBytes: number;
  /** Holds bytes that nobody will change. They go when all of them were asked for, after a minute, or first of all when memory is short. */
  hold(bytes: Uint8Array): Claim;
}

/** What held outputs are made with. */
export interface HeldOutputsOptions {
  readonly blobs: BlobStore;
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly id: MemberId;
  /** Beyond this, the oldest go first. */
  readonly limitBytes: number;
}

/** Starts holding outputs. It listens to the questions for chunks beside the blob store, and lets a blob go once every byte was asked for. */
export function startHeldOutputs(options: HeldOutputsOptions): HeldOutputs {
  const { blobs, transport, subjects, clock, id, limitBytes } = options;
  const held = new Map<ClaimId, { unasked: number; readonly timer: Timer }>();

  const watching = transport.subscribe(subjects.blob(id), (message) => {
    const question = new ByteReader(message.data);
    const claimId = question.f64() as ClaimId;
    question.f64();
    const output = held.get(claimId);
    if (output === undefined) return;
    output.unasked -= question.f64();
    if (output.unasked <= 0) release(claimId);
  });

  function release(claimId: ClaimId): void {
    held.get(claimId)?.timer[Symbol.dispose]();
    held.delete(claimId);
    blobs.release(claimId);
  }

  return {
    get heldBytes() {
      return blobs.heldBytes;
    },
    hold(bytes) {
      for (const claimId of held.keys()) {
        if (blobs.heldBytes + bytes.byteLength <= limitBytes) break;
        release(claimId);
      }
      const claim = blobs.hold(bytes);
      held.set(claim.claimId, { unasked: bytes.byteLength, timer: clock.schedule(HELD_MS, () => release(claim.claimId)) });
      return claim;
    },
    async [Symbol.asyncDispose]() {
      watching[Symbol.dispose]();
      for (const claimId of [...held.keys()]) release(claimId);
    },
  };
}
