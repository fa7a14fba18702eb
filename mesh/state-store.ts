/**
 * Where the control plane keeps what must survive: configuration, labels, history, and who leads. Small JSON documents under string keys, each
 * with a revision. The contract, held by `test/contract/state-store.contract.ts` for every implementation:
 *
 * - `put` is compare-and-swap: it succeeds only when the key's revision is `expected` (0: the key does not exist).
 * - Revisions of a key grow by one with each put and never repeat while the key exists.
 * - A lease is held by one holder at a time. Its fencing token grows with every change of holder; a write with `fencing` is refused once a
 *   higher token has been handed out for that lease, even when the writer has not noticed yet.
 * - Every operation rejects with UNAVAILABLE when the store cannot be reached within its bound (2 s).
 */
export interface StateStore extends AsyncDisposable {
  get<Value>(key: string): Promise<Versioned<Value> | null>;
  /** All entries whose key starts with `prefix`, ordered by key. */
  list<Value>(prefix: string): Promise<readonly (Versioned<Value> & { readonly key: string })[]>;
  /** Returns the new revision. Rejects with ABORTED when the revision is not `expected`, FAILED_PRECONDITION when the fencing token is old. */
  put(key: string, value: unknown, options: { readonly expected: number; readonly fencing?: Fencing }): Promise<number>;
  /** Rejects like `put`. Removing a key that is not there is fine when `expected` is 0. */
  remove(key: string, options: { readonly expected: number; readonly fencing?: Fencing }): Promise<void>;
  /** Takes or renews a lease for `ttlMs`. Returns the fencing token, or null when somebody else holds it. */
  acquireLease(lease: string, holder: string, ttlMs: number): Promise<number | null>;
  /** Gives a lease back early. Not holding it is fine. */
  releaseLease(lease: string, holder: string): Promise<void>;
}

/** A value and the revision it was read at. */
export interface Versioned<Value> {
  readonly value: Value;
  readonly revision: number;
}

/** Proof of leadership that a write carries. */
export interface Fencing {
  readonly lease: string;
  readonly token: number;
}
