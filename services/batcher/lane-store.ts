import { IdTable } from '#mesh/id-table.ts';
import { type MemberId, type ServableId, servableKey } from '#mesh/ids.ts';
import type { SubmittedRequest } from '#mesh/messages.ts';
import type { GatewayBook } from './held-request.ts';
import { Lane } from './lane.ts';
import { LaneGroup } from './lane-group.ts';

/** Finds lanes, servables and gateways by key, makes them on first use, and forgets those that nobody uses. */
export interface LaneStore {
  laneOf(request: SubmittedRequest, nowMs: number): Lane;
  groupOf(servable: ServableId, nowMs: number): LaneGroup;
  bookOf(gatewayId: MemberId): GatewayBook;
  /** The book of a gateway, if it has one. */
  findBook(gatewayId: MemberId): GatewayBook | undefined;
  groups(): Iterable<LaneGroup>;
  /** Forgets what has been idle for a minute, when it is time to. */
  sweep(nowMs: number): void;
  /** When `sweep` wants to be called; Infinity while there is nothing to forget. */
  nextSweepMs(): number;
  readonly laneCount: number;
}

/** Lanes that were not used for this long are forgotten. */
const LANE_IDLE_MS = 60_000;
/** With more lanes than this, idle ones are forgotten at once: whoever makes up inner shapes gets no memory for it. */
const MANY_LANES = 10_000;

/** Makes an empty store. */
export function createLaneStore(maxBatchBytes: number): LaneStore {
  const groups = new Map<string, LaneGroup>();
  const lanes = new Map<string, Lane>();
  const books = new Map<MemberId, GatewayBook>();
  let sweepAtMs = Number.POSITIVE_INFINITY;
  let manyLanes = MANY_LANES;

  function groupOf(servable: ServableId, nowMs: number): LaneGroup {
    const key = servableKey(servable);
    let group = groups.get(key);
    if (group === undefined) {
      group = new LaneGroup(servable, maxBatchBytes, nowMs);
      groups.set(key, group);
    }
    return group;
  }

  function forget(nowMs: number, idleMs: number): void {
    for (const lane of lanes.values()) {
      if (lane.queuedPieces > 0 || nowMs - lane.lastUsedMs < idleMs) continue;
      lanes.delete(lane.key);
      lane.group.laneCount--;
    }
    for (const book of books.values()) if (book.requests.size === 0) books.delete(book.id);
    for (const group of groups.values()) {
      const used = group.laneCount > 0 || group.slots.length > 0 || group.suspects.queuedPieces > 0 || group.active.length > 0;
      if (!used && group.quarantinedUntilMs <= nowMs) groups.delete(group.key);
    }
  }

  return {
    groupOf,
    laneOf(request, nowMs) {
      const known = lanes.get(request.laneKey);
      if (known !== undefined) return known;
      if (lanes.size >= manyLanes) {
        forget(nowMs, 0);
        // Lanes in use cannot be forgotten: with many of those, look again only once there are twice as many.
        manyLanes = Math.max(MANY_LANES, 2 * lanes.size);
      }
      if (sweepAtMs === Number.POSITIVE_INFINITY) sweepAtMs = nowMs + LANE_IDLE_MS;
      const { laneKey: key, signature, outputs } = request;
      const called = request.callers !== undefined;
      const lane = new Lane({ group: groupOf(request.servable, nowMs), key, signature, outputs, called });
      lane.lastUsedMs = nowMs;
      lane.group.laneCount++;
      lanes.set(key, lane);
      return lane;
    },
    bookOf(gatewayId) {
      let book = books.get(gatewayId);
      if (book === undefined) {
        book = { id: gatewayId, requests: new IdTable() };
        books.set(gatewayId, book);
      }
      return book;
    },
    findBook: (gatewayId) => books.get(gatewayId),
    groups: () => groups.values(),
    sweep(nowMs) {
      if (nowMs < sweepAtMs) return;
      forget(nowMs, LANE_IDLE_MS);
      sweepAtMs = lanes.size + books.size > 0 ? nowMs + LANE_IDLE_MS : Number.POSITIVE_INFINITY;
    },
    nextSweepMs: () => sweepAtMs,
    get laneCount() {
      return lanes.size;
    },
  };
}
