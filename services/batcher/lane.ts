import { byArrival, type HeldRequest, type Piece } from './held-request.ts';
import type { LaneGroup } from './lane-group.ts';
import { Pace } from './pace.ts';

/** What all requests of a lane have in common. */
export interface LaneFacts {
  readonly group: LaneGroup;
  readonly key: string;
  readonly signature: string;
  readonly outputs: readonly string[];
  /** Servables wait for its requests, and hold executors while they do. */
  readonly called?: boolean;
}

/** Pieces that are dead but still in the array, before it is worth packing. */
const MIN_DEAD_TO_PACK = 64;

/**
 * A queue of requests that may share a batch. Sums are kept as pieces come and go; taking from the head, adding to the tail and dropping a
 * request anywhere are O(1) (a dropped piece is skipped when it comes up, and packed away when such pieces are the majority).
 */
export class Lane {
  readonly group: LaneGroup;
  readonly key: string;
  readonly signature: string;
  readonly outputs: readonly string[];
  readonly called: boolean;
  /** Bytes of a batch frame besides its parts, at most. */
  readonly headerBytes: number;
  /** Live pieces, their rows, and their bytes in a batch frame. */
  queuedPieces = 0;
  queuedRows = 0;
  queuedBytes = 0;
  /** No live piece has an earlier deadline. May be too early after pieces left; `tightenDeadline` makes it exact. */
  earliestDeadlineMs = Number.POSITIVE_INFINITY;
  /** Moving average from sending to the ready frame; 0 before the first. */
  executionMs = 0;
  /** How fast its requests are answered. */
  readonly pace = new Pace();
  lastUsedMs = 0;
  wakeAtMs = Number.POSITIVE_INFINITY;
  /** Place in the group's list of lanes that hold something; -1: not there. */
  activeIndex = -1;

  #pieces: (Piece | undefined)[] = [];
  #head = 0;
  #deadlineExact = true;

  constructor(facts: LaneFacts) {
    this.group = facts.group;
    this.key = facts.key;
    this.signature = facts.signature;
    this.outputs = facts.outputs;
    this.called = facts.called ?? false;
    this.headerBytes = 512 + 3 * (facts.group.id.name.length + facts.signature.length);
    for (const output of facts.outputs) this.headerBytes += 4 + 3 * output.length;
  }

  /** Adds a piece at the tail. */
  push(piece: Piece): void {
    this.#pieces.push(piece);
    this.#count(piece);
  }

  /** Puts pieces back where their arrival places them, which is before everything that arrived later. */
  restore(pieces: readonly Piece[]): void {
    this.#pieces = [...pieces, ...this.#live()].sort(byArrival);
    this.#head = 0;
    for (const piece of pieces) this.#count(piece);
  }

  /** The oldest live piece, left in place. */
  first(): Piece | undefined {
    for (;;) {
      const piece = this.#pieces[this.#head];
      if (piece === undefined) {
        // The end: taken places are before the head, and only those are cleared.
        this.#pieces = [];
        this.#head = 0;
        this.earliestDeadlineMs = Number.POSITIVE_INFINITY;
        this.#deadlineExact = true;
        return undefined;
      }
      if (isLive(piece)) return piece;
      this.#advance();
    }
  }

  /** Takes out what `first` just returned. */
  takeFirst(piece: Piece): void {
    this.#uncount(piece, piece.rowCount);
    piece.queued = false;
    this.#advance();
    this.#deadlineExact = false;
  }

  /** Cuts `rows` off the front of what `first` just returned; the rest stays at the head. */
  cutFirst(piece: Piece, rows: number): Piece {
    const { request } = piece;
    const cut: Piece = { request, rowStart: piece.rowStart, rowCount: rows, queued: false };
    piece.rowStart += rows;
    piece.rowCount -= rows;
    this.queuedRows -= rows;
    request.queuedRows -= rows;
    request.openPieces++;
    request.split = true;
    return cut;
  }

  /** Uncounts all queued pieces of a request that is done. */
  drop(request: HeldRequest): void {
    this.queuedPieces -= request.queuedPieces;
    this.queuedRows -= request.queuedRows;
    this.queuedBytes -= request.queuedPieces * request.bytes;
    request.queuedPieces = 0;
    request.queuedRows = 0;
    this.#deadlineExact = false;
    const stored = this.#pieces.length - this.#head;
    if (stored > MIN_DEAD_TO_PACK && stored > 2 * this.queuedPieces) this.#pack();
  }

  /** Takes out all queued pieces of a request. O(length): only for requests that were split. */
  extract(request: HeldRequest): Piece[] {
    const taken = this.#live().filter((piece) => piece.request === request);
    for (const piece of taken) {
      this.#uncount(piece, piece.rowCount);
      piece.queued = false;
    }
    this.#deadlineExact = false;
    this.#pack();
    return taken;
  }

  /** Requests with a deadline at or before `nowMs`. O(length): called when the earliest deadline has come. */
  overdue(nowMs: number): HeldRequest[] {
    const requests = new Set<HeldRequest>();
    for (const { request } of this.#live()) if (request.deadlineMs <= nowMs) requests.add(request);
    return [...requests];
  }

  /** Makes `earliestDeadlineMs` exact. O(length), but only when pieces have left since it was. True when it changed. */
  tightenDeadline(): boolean {
    if (this.#deadlineExact) return false;
    const before = this.earliestDeadlineMs;
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const { request } of this.#live()) if (request.deadlineMs < earliestMs) earliestMs = request.deadlineMs;
    this.earliestDeadlineMs = earliestMs;
    this.#deadlineExact = true;
    return earliestMs !== before;
  }

  /** The requests in the lane, each once, oldest first. */
  requests(): HeldRequest[] {
    return [...new Set(this.#live().map(({ request }) => request))];
  }

  #live(): Piece[] {
    const live: Piece[] = [];
    for (let index = this.#head; index < this.#pieces.length; index++) {
      const piece = this.#pieces[index];
      if (piece !== undefined && isLive(piece)) live.push(piece);
    }
    return live;
  }

  #pack(): void {
    this.#pieces = this.#live();
    this.#head = 0;
  }

  #advance(): void {
    this.#pieces[this.#head++] = undefined;
    if (this.#head > 1024 && this.#head * 2 > this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#head);
      this.#head = 0;
    }
  }

  #count(piece: Piece): void {
    const { request } = piece;
    piece.queued = true;
    this.queuedPieces++;
    this.queuedRows += piece.rowCount;
    this.queuedBytes += request.bytes;
    request.queuedPieces++;
    request.queuedRows += piece.rowCount;
    if (request.deadlineMs < this.earliestDeadlineMs) this.earliestDeadlineMs = request.deadlineMs;
  }

  #uncount(piece: Piece, rows: number): void {
    const { request } = piece;
    this.queuedPieces--;
    this.queuedRows -= rows;
    this.queuedBytes -= request.bytes;
    request.queuedPieces--;
    request.queuedRows -= rows;
  }
}

function isLive(piece: Piece): boolean {
  return piece.queued && !piece.request.done;
}
