/** The direct connections of one member to the holders of blobs, opened beside the fetches that want them. */
import { decodeDoorAddress } from './blob-door-protocol.ts';
import { type BlobLine, type LineEnd, openBlobLine } from './blob-line.ts';
import type { Clock } from './clock.ts';
import { toServeError } from './errors.ts';
import type { MemberId } from './ids.ts';
import type { Subjects } from './subjects.ts';
import type { Transport } from './transport.ts';

/** Direct connections by holder. Disposing it ends them. */
export interface BlobLines extends Disposable {
  /**
   * The connection to a holder when there is one now. Otherwise one is opened for later, unless that has failed lately: nobody ever waits for
   * a connection, because the mesh carries chunks as well.
   */
  to(holder: MemberId): BlobLine | undefined;
}

/** Why there is no connection: how one ended, or `no-door`, the holder has none; a metric's label. */
export type LineFailure = Exclude<LineEnd, 'idle' | 'closed'> | 'no-door';

/** What connections are opened with. */
export interface BlobLinesOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  /** A holder is not reached directly now. */
  readonly onFailure: (fact: { readonly holder: MemberId; readonly reason: LineFailure }) => void;
}

type Way =
  | { readonly type: 'opening' }
  | { readonly type: 'open'; readonly line: BlobLine; readonly sinceMs: number }
  /** Not tried again before `untilMs`. */
  | { readonly type: 'closed'; readonly untilMs: number };

interface Holder {
  way: Way;
  /** In a row. */
  failures: number;
  /** What ends the connection or the attempt at one. */
  ending: Disposable | undefined;
}

/** How long the mesh may take to say where a holder is. */
const ASK_TIMEOUT_MS = 2000;
/** After a failure the next attempt waits this long, then twice as long with each further one. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** Beyond this many holders those that are not connected are forgotten: members come and go under ever new ids. */
const MAX_HOLDERS = 256;

/** Makes the connections of one member; none is open yet. */
export function createBlobLines({ transport, subjects, clock, onFailure }: BlobLinesOptions): BlobLines {
  const holders = new Map<MemberId, Holder>();
  let disposed = false;

  function to(id: MemberId): BlobLine | undefined {
    const holder = holders.get(id) ?? remember(id);
    const { way } = holder;
    if (way.type === 'open') return way.line;
    if (way.type === 'closed' && clock.now() >= way.untilMs && !disposed) {
      holder.way = { type: 'opening' };
      void open(id, holder);
    }
    return undefined;
  }

  function remember(id: MemberId): Holder {
    if (holders.size >= MAX_HOLDERS) {
      for (const [known, { way }] of holders) if (way.type === 'closed') holders.delete(known);
    }
    const holder: Holder = { way: { type: 'closed', untilMs: Number.NEGATIVE_INFINITY }, failures: 0, ending: undefined };
    holders.set(id, holder);
    return holder;
  }

  async function open(id: MemberId, holder: Holder): Promise<void> {
    try {
      const bytes = await transport.request(subjects.blobDoor(id), new Uint8Array(0), { timeoutMs: ASK_TIMEOUT_MS });
      const address = decodeDoorAddress(bytes);
      if (disposed) return;
      holder.ending = openBlobLine({
        address,
        clock,
        onOpen(line) {
          holder.way = { type: 'open', line, sinceMs: clock.now() };
        },
        onEnd(end) {
          // One that opens and soon fails again and again must not be tried as often as one that is new.
          if (holder.way.type === 'open' && clock.now() - holder.way.sinceMs >= LONGEST_PAUSE_MS) holder.failures = 0;
          if (end === 'idle' || end === 'closed') holder.way = { type: 'closed', untilMs: clock.now() };
          else fail(id, holder, end);
        },
      });
    } catch (caught) {
      const { code } = toServeError(caught);
      fail(id, holder, code === 'UNAVAILABLE' && transport.connected ? 'no-door' : code === 'DEADLINE_EXCEEDED' ? 'unreachable' : 'broken');
    }
  }

  function fail(id: MemberId, holder: Holder, reason: LineFailure): void {
    const pauseMs = reason === 'no-door' ? LONGEST_PAUSE_MS : FIRST_PAUSE_MS * 2 ** holder.failures;
    holder.failures++;
    holder.way = { type: 'closed', untilMs: clock.now() + Math.min(LONGEST_PAUSE_MS, pauseMs) };
    holder.ending = undefined;
    if (!disposed) onFailure({ holder: id, reason });
  }

  return {
    to,
    [Symbol.dispose]() {
      disposed = true;
      for (const { ending } of holders.values()) ending?.[Symbol.dispose]();
      holders.clear();
    },
  };
}
