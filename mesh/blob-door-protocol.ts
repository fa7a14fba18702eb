/**
 * What a member that fetches blobs and the one that holds them say to each other over a connection of their own, little-endian:
 *
 *   holder   hello: MAGIC, its nonce
 *   fetcher  its nonce, its proof
 *   holder   its proof
 *   fetcher  questions, each a claim's id, a start and a length (float64), as many as it likes before the answers
 *   holder   answers in the order of the questions: a state and a length (uint32), then so many bytes
 *
 * A proof is an HMAC of both nonces under a key that the holder gives away over the mesh only. So a stranger who reaches the port reads nothing,
 * a fetcher knows that it reached the right process, and the key itself never travels here.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromUtf8, utf8 } from './bytes.ts';
import { ServeError } from './errors.ts';
import type { ClaimId } from './ids.ts';

const MAGIC = utf8('HRBLOB01');
/** Bytes of a nonce, fresh for each connection. */
export const NONCE_BYTES = 16;
/** Bytes of the key that proofs are made with. */
export const KEY_BYTES = 32;
/** Bytes of a proof. */
export const PROOF_BYTES = 32;
/** Bytes of the holder's first words. */
export const HELLO_BYTES = MAGIC.byteLength + NONCE_BYTES;
/** Bytes of a question. */
export const QUESTION_BYTES = 24;
/** Bytes before the content of an answer. */
export const ANSWER_HEAD_BYTES = 8;
/** The most that one question may ask for, in bytes. */
export const MAX_CHUNK_BYTES = 4 * 1024 * 1024;

/** Why an answer has no content, or that it has. */
export type ChunkState = 'held' | 'not-held' | 'outside';
const STATES: readonly ChunkState[] = ['held', 'not-held', 'outside'];

/** Where a member can be reached directly, as it says over the mesh. */
export interface DoorAddress {
  readonly host: string;
  readonly port: number;
  /** `KEY_BYTES` of it. */
  readonly key: Uint8Array;
}

/** One question for a part of a blob. */
export interface ChunkQuestion {
  readonly claimId: ClaimId;
  readonly start: number;
  /** From 1 to `MAX_CHUNK_BYTES`. */
  readonly length: number;
}

/** Encodes where a member can be reached. */
export function encodeDoorAddress({ host, port, key }: DoorAddress): Uint8Array {
  return utf8(JSON.stringify({ host, port, key: Buffer.from(key).toString('base64') }));
}

/** Decodes where a member can be reached. Throws DATA_LOSS. */
export function decodeDoorAddress(bytes: Uint8Array): DoorAddress {
  const broken = (cause?: unknown) =>
    new ServeError('DATA_LOSS', 'a member says where it can be reached in words that are none', { cause });
  let parsed: { readonly host?: unknown; readonly port?: unknown; readonly key?: unknown } | null;
  try {
    parsed = JSON.parse(fromUtf8(bytes));
  } catch (caught) {
    throw broken(caught);
  }
  const { host, port, key: keyText } = parsed ?? {};
  const key = Buffer.from(typeof keyText === 'string' ? keyText : '', 'base64');
  const isPort = typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536;
  if (typeof host !== 'string' || host === '' || host.length > 255 || !isPort || key.byteLength !== KEY_BYTES) throw broken();
  return { host, port, key };
}

/** The holder's first words. */
export function encodeHello(nonce: Uint8Array): Uint8Array {
  return Buffer.concat([MAGIC, nonce]);
}

/** The holder's nonce; undefined when these are no first words of a holder. */
export function decodeHello(hello: Uint8Array): Uint8Array | undefined {
  const isHello = hello.byteLength === HELLO_BYTES && MAGIC.every((byte, index) => hello[index] === byte);
  return isHello ? hello.slice(MAGIC.byteLength) : undefined;
}

/** What one side proves that it knows the key with. */
export function proofOf(
  side: 'holder' | 'fetcher',
  secret: { readonly key: Uint8Array; readonly holderNonce: Uint8Array; readonly fetcherNonce: Uint8Array },
): Buffer {
  return createHmac('sha256', secret.key).update(side).update(secret.holderNonce).update(secret.fetcherNonce).digest();
}

/** Compares proofs in a time that says nothing about them. */
export function isSameProof(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && timingSafeEqual(one, other);
}

/** Encodes a question. */
export function encodeQuestion({ claimId, start, length }: ChunkQuestion): Buffer {
  const bytes = Buffer.allocUnsafe(QUESTION_BYTES);
  bytes.writeDoubleLE(claimId, 0);
  bytes.writeDoubleLE(start, 8);
  bytes.writeDoubleLE(length, 16);
  return bytes;
}

/** Decodes the question that starts at an offset; undefined when nobody may ask it. */
export function decodeQuestion(bytes: Buffer, offset: number): ChunkQuestion | undefined {
  const claimId = bytes.readDoubleLE(offset) as ClaimId;
  const start = bytes.readDoubleLE(offset + 8);
  const length = bytes.readDoubleLE(offset + 16);
  const isChunk = Number.isSafeInteger(start) && start >= 0 && Number.isInteger(length) && length > 0 && length <= MAX_CHUNK_BYTES;
  return isChunk ? { claimId, start, length } : undefined;
}

/** Encodes what comes before the content of an answer. */
export function encodeAnswerHead(state: ChunkState, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(ANSWER_HEAD_BYTES);
  bytes.writeUInt32LE(STATES.indexOf(state), 0);
  bytes.writeUInt32LE(length, 4);
  return bytes;
}

/** Decodes what comes before the content of an answer; undefined for a state that there is not. */
export function decodeAnswerHead(bytes: Buffer): { readonly state: ChunkState; readonly length: number } | undefined {
  const state = STATES[bytes.readUInt32LE(0)];
  return state === undefined ? undefined : { state, length: bytes.readUInt32LE(4) };
}
