import { randomBytes } from 'node:crypto';

/** One process (or one embedded service) of the mesh, unique over restarts. Letters, digits and `-` only, so that it can stand in a subject. */
export type MemberId = string & { readonly brand: 'MemberId' };

/** A request of one gateway; unique within that gateway's life, below 2^53. */
export type RequestId = number & { readonly brand: 'RequestId' };

/** A batch of one batcher; unique within that batcher's life, below 2^53. */
export type BatchId = number & { readonly brand: 'BatchId' };

/** A blob held by one member for others to fetch; unique within that member's life, below 2^53. */
export type ClaimId = number & { readonly brand: 'ClaimId' };

/** Makes the id of a new member, such as `batcher-9f2c61d0a7b3`. */
export function newMemberId(kind: string): MemberId {
  return `${kind}-${randomBytes(6).toString('hex')}` as MemberId;
}

/** True for text that can be a member's id: it becomes part of a subject, where a dot, a blank or a wildcard would mean something else. */
export function isMemberId(text: unknown): text is MemberId {
  return typeof text === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(text);
}

/** Returns a counter that starts at 1: the source of a member's request, batch or claim ids. */
export function createSequence<Id extends number>(): () => Id {
  let last = 0;
  return () => ++last as Id;
}

/** One version of one model. */
export interface ServableId {
  readonly name: string;
  /** A whole number from 0 to 2^63 - 1 in TensorFlow Serving; here below 2^53. */
  readonly version: number;
}

/** The key of a servable in maps and on the wire: `name@version`. A name may itself hold `@`: the last one counts. */
export function servableKey(id: ServableId): string {
  return `${id.name}@${id.version}`;
}
