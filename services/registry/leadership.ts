import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { StateStore } from '#mesh/state-store.ts';
import type { RegistryEvents } from './events.ts';

/** The lease to compete for, and what to do with it. `leaseMs` bounds how long a leader that died keeps the others waiting. */
export interface LeadershipOptions {
  readonly store: StateStore;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly lease: string;
  readonly holder: string;
  readonly leaseMs: number;
  /** The highest fencing token that was heard of: a new leadership needs a higher one, or nobody would listen. */
  readonly highestTokenSeen: () => number;
  /** Starts leading. What it returns is disposed when leadership ends. A rejection gives leadership back. */
  readonly lead: (fencingToken: number, lost: (reason: string) => void) => Promise<AsyncDisposable>;
  /** Called after each attempt that found another leader. */
  readonly onFollowing: () => void;
}

/** A standing candidacy. Disposing it ends a leadership under way, gives the lease back and stops competing. */
export interface Leadership extends AsyncDisposable {
  readonly leading: boolean;
}

/** A store that has forgotten its leases hands out low tokens: they are raised one change of holder at a time, at most this often. */
const MAX_TOKEN_RAISES = 10_000;

/**
 * Leads whenever the lease can be had, and renews it three times as often as it runs out. While the store cannot be reached a leader goes on:
 * workers and gateways follow the highest fencing token, so that a second leader, if there is one, is the one they hear. It stops at once when
 * it learns of another: by the lease, by a refused write, or by a higher token.
 */
export function startLeadership(options: LeadershipOptions): Leadership {
  const { store, clock, events, lease, holder, leaseMs, lead } = options;
  const stopping = new AbortController();
  let session: { readonly fencingToken: number; readonly running: AsyncDisposable; lostReason: string | null } | undefined;
  let wake = () => {};

  async function acquire(): Promise<number | null> {
    let token = await store.acquireLease(lease, holder, leaseMs);
    if (token === session?.fencingToken) return token;
    for (let raises = 0; token !== null && token <= options.highestTokenSeen(); raises++) {
      if (raises === MAX_TOKEN_RAISES) {
        throw new ServeError('INTERNAL', `the store hands out fencing token ${token}, members follow ${options.highestTokenSeen()}`);
      }
      await store.releaseLease(lease, holder);
      token = await store.acquireLease(lease, holder, leaseMs);
    }
    return token;
  }

  async function end(reason: string): Promise<void> {
    const ended = session;
    if (ended === undefined) return;
    session = undefined;
    events.leadershipLost({ fencingToken: ended.fencingToken, reason });
    await ended.running[Symbol.asyncDispose]();
  }

  async function turn(): Promise<void> {
    if (session?.lostReason) await end(session.lostReason);
    let token: number | null;
    try {
      token = await acquire();
    } catch (caught) {
      events.storeUnavailable({ doing: session ? 'renewing the lease' : 'asking for the lease', error: toServeError(caught) });
      return;
    }
    if (stopping.signal.aborted) return;
    if (session && session.fencingToken !== token) await end(token === null ? 'another registry holds the lease' : 'the lease had run out');
    if (token === null) {
      options.onFollowing();
      return;
    }
    if (session !== undefined) return;
    let lostEarly: string | null = null;
    try {
      const running = await lead(token, (reason) => {
        lostEarly = reason;
        if (session?.fencingToken === token) session.lostReason = reason;
        wake();
      });
      session = { fencingToken: token, running, lostReason: lostEarly };
      events.leadershipTaken({ fencingToken: token });
    } catch (caught) {
      events.storeUnavailable({ doing: 'taking over', error: toServeError(caught) });
      await store
        .releaseLease(lease, holder)
        .catch((error) => events.storeUnavailable({ doing: 'giving the lease back', error: toServeError(error) }));
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await turn();
      if (session?.lostReason) continue;
      const woken = new AbortController();
      wake = () => woken.abort();
      await clock.sleep(leaseMs / 3, AbortSignal.any([stopping.signal, woken.signal])).catch(() => {});
    }
  }

  const loop = run();
  return {
    get leading() {
      return session !== undefined && session.lostReason === null;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort(new ServeError('CANCELLED', 'the registry is stopping'));
      await loop;
      await end('the registry is stopping');
      await store
        .releaseLease(lease, holder)
        .catch((caught) => events.storeUnavailable({ doing: 'giving the lease back', error: toServeError(caught) }));
    },
  };
}
