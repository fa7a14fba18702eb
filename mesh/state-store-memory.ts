import type { Clock } from './clock.ts';
import { ServeError } from './errors.ts';
import type { Fencing, StateStore, Versioned } from './state-store.ts';

interface Lease {
  holder: string | null;
  token: number;
  expiresAtMs: number;
}

/**
 * A state store inside the process, for the embedded mesh and for tests. Documents are kept as JSON text, so that a reader never shares an
 * object with a writer. Several registries may share one; disposing it forgets nothing (there is nothing to close).
 */
export function createMemoryStateStore({ clock }: { readonly clock: Clock }): StateStore {
  const documents = new Map<string, { readonly text: string; readonly revision: number }>();
  const leases = new Map<string, Lease>();

  function checkWrite(key: string, expected: number, fencing: Fencing | undefined): void {
    if (fencing !== undefined) {
      const newest = leases.get(fencing.lease)?.token ?? 0;
      if (fencing.token < newest) throw staleFencing(fencing, newest);
    }
    const revision = documents.get(key)?.revision ?? 0;
    if (revision !== expected) throw wrongRevision(key, expected, revision);
  }

  return {
    async get<Value>(key: string): Promise<Versioned<Value> | null> {
      const found = documents.get(key);
      return found === undefined ? null : { value: JSON.parse(found.text) as Value, revision: found.revision };
    },
    async list<Value>(prefix: string) {
      return [...documents]
        .filter(([key]) => key.startsWith(prefix))
        .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        .map(([key, { text, revision }]) => ({ key, value: JSON.parse(text) as Value, revision }));
    },
    async put(key, value, { expected, fencing }) {
      checkWrite(key, expected, fencing);
      documents.set(key, { text: JSON.stringify(value), revision: expected + 1 });
      return expected + 1;
    },
    async remove(key, { expected, fencing }) {
      checkWrite(key, expected, fencing);
      documents.delete(key);
    },
    async acquireLease(name, holder, ttlMs) {
      const now = clock.now();
      const lease = leases.get(name) ?? { holder: null, token: 0, expiresAtMs: 0 };
      leases.set(name, lease);
      const live = lease.holder !== null && now < lease.expiresAtMs;
      if (live && lease.holder !== holder) return null;
      if (!live) lease.token++;
      lease.holder = holder;
      lease.expiresAtMs = now + ttlMs;
      return lease.token;
    },
    async releaseLease(name, holder) {
      const lease = leases.get(name);
      if (lease?.holder === holder) lease.holder = null;
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** The error of a write that lost a compare-and-swap. Shared by all stores: its words are part of the contract. */
export function wrongRevision(key: string, expected: number, found: number): ServeError {
  return new ServeError('ABORTED', `${key} is at revision ${found}, the write expected revision ${expected}`);
}

/** The error of a write under a leadership that has ended. */
export function staleFencing(fencing: Fencing, newest: number): ServeError {
  return new ServeError(
    'FAILED_PRECONDITION',
    `the lease ${fencing.lease} has handed out fencing token ${newest}; the write carries ${fencing.token}`,
  );
}
