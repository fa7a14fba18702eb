import { type ClaimId, createSequence } from './ids.ts';

/** The blobs that one member holds for others, whichever way those fetch them. */
export interface BlobShelf {
  /** All held bytes together. */
  readonly heldBytes: number;
  /** Puts bytes on the shelf; `onReleased` is called once they leave it. */
  put(bytes: Uint8Array, onReleased?: () => void): ClaimId;
  /** Undefined: not held, or no longer. */
  find(claimId: ClaimId): Uint8Array | undefined;
  /** Takes bytes off the shelf. Twice does nothing. */
  take(claimId: ClaimId): void;
  /** Takes everything off and tells nobody. */
  clear(): void;
}

interface Held {
  readonly bytes: Uint8Array;
  readonly onReleased: (() => void) | undefined;
}

/** Makes an empty shelf. */
export function createBlobShelf(): BlobShelf {
  const blobs = new Map<ClaimId, Held>();
  const nextClaimId = createSequence<ClaimId>();
  let heldBytes = 0;
  return {
    get heldBytes() {
      return heldBytes;
    },
    put(bytes, onReleased) {
      const claimId = nextClaimId();
      blobs.set(claimId, { bytes, onReleased });
      heldBytes += bytes.byteLength;
      return claimId;
    },
    find: (claimId) => blobs.get(claimId)?.bytes,
    take(claimId) {
      const held = blobs.get(claimId);
      if (held === undefined) return;
      heldBytes -= held.bytes.byteLength;
      blobs.delete(claimId);
      held.onReleased?.();
    },
    clear() {
      blobs.clear();
      heldBytes = 0;
    },
  };
}
