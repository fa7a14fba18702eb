/** Which batcher a lane's requests go to, as this gateway sees the mesh now. */
import type { Clock } from '#mesh/clock.ts';
import type { BatcherDetail } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { Presence } from '#mesh/presence.ts';
import { pickOwner } from '#mesh/rendezvous.ts';

/** The batchers that can be reached, and which of them owns a lane. Gateways that see the same members name the same owner. */
export interface LiveBatchers {
  /** True when somebody can take requests now. */
  readonly some: boolean;
  /** The owner of a lane; undefined when there is nobody. */
  ownerOf(laneKey: string): MemberId | undefined;
  /** The owner if `avoid` were not there; undefined when there is nobody else. */
  ownerWithout(laneKey: string, avoid: MemberId | undefined): MemberId | undefined;
  /** Takes the members from presence again: call after each of its changes. */
  refresh(): void;
  /** Leaves a batcher out for a while: a message to it reached nobody, though its lease has not ended. */
  shun(batcher: MemberId): void;
}

/** How long a batcher that nobody listens for is left out, unless its presence changes before. */
const SHUN_MS = 250;
/** Owners remembered; beyond it all are worked out again, so that a client that sends ever new shapes costs no memory. */
const MAX_OWNERS = 16_384;

/** Makes the view. `onReturn` is called when a batcher that was left out may be used again. */
export function createLiveBatchers(deps: {
  readonly presence: Presence;
  readonly clock: Clock;
  readonly onReturn: () => void;
}): LiveBatchers {
  const { presence, clock, onReturn } = deps;
  const owners = new Map<string, MemberId>();
  const shunned = new Set<MemberId>();
  let live: readonly MemberId[] = [];

  function refresh(): void {
    owners.clear();
    live = presence
      .members<BatcherDetail>('batcher')
      .filter(({ id, detail }) => !detail.draining && !shunned.has(id))
      .map(({ id }) => id);
  }

  refresh();
  return {
    get some() {
      return live.length > 0;
    },
    ownerOf(laneKey) {
      const known = owners.get(laneKey);
      if (known !== undefined) return known;
      const owner = pickOwner(laneKey, live);
      if (owner === undefined) return undefined;
      if (owners.size >= MAX_OWNERS) owners.clear();
      owners.set(laneKey, owner);
      return owner;
    },
    ownerWithout: (laneKey, avoid) =>
      pickOwner(
        laneKey,
        live.filter((id) => id !== avoid),
      ),
    refresh,
    shun(batcher) {
      if (shunned.has(batcher)) return;
      shunned.add(batcher);
      refresh();
      clock.schedule(SHUN_MS, () => {
        shunned.delete(batcher);
        refresh();
        onReturn();
      });
    },
  };
}
