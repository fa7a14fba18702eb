import type { BlobStore, Claim } from '#mesh/blobs.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import type { ClaimId } from '#mesh/ids.ts';

/** How long a gateway has for fetching an output. */
const HELD_MS = 60_000;

/** Outputs too large for a message, held until their gateway has them. */
export interface HeldOutputs extends AsyncDisposable {
  readonly heldBytes: number;
  /** Holds bytes that nobody will change. They go when their gateway says that it has them, after a minute, or first of all when memory is short. */
  hold(bytes: Uint8Array): Claim;
}

/** What held outputs are made with. */
export interface HeldOutputsOptions {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** Beyond this, the oldest go first. */
  readonly limitBytes: number;
  /** Called with the bytes held after each change. */
  readonly onChange: (heldBytes: number) => void;
}

/** Starts holding outputs. What a gateway has fetched the blob store lets go by itself (`BlobStore.finished`); this holds the bounds. */
export function startHeldOutputs(options: HeldOutputsOptions): HeldOutputs {
  const { blobs, clock, limitBytes } = options;
  const held = new Map<ClaimId, Timer>();

  function released(claimId: ClaimId): void {
    held.get(claimId)?.[Symbol.dispose]();
    held.delete(claimId);
    options.onChange(blobs.heldBytes);
  }

  return {
    get heldBytes() {
      return blobs.heldBytes;
    },
    hold(bytes) {
      for (const claimId of held.keys()) {
        if (blobs.heldBytes + bytes.byteLength <= limitBytes) break;
        blobs.release(claimId);
      }
      const claim = blobs.hold(bytes, () => released(claim.claimId));
      held.set(
        claim.claimId,
        clock.schedule(HELD_MS, () => blobs.release(claim.claimId)),
      );
      options.onChange(blobs.heldBytes);
      return claim;
    },
    async [Symbol.asyncDispose]() {
      for (const claimId of [...held.keys()]) blobs.release(claimId);
    },
  };
}
