/** What is fuzzed: a reader of bytes, and the promise it keeps for any bytes. */
import { ServeError, type StatusCode } from '#mesh/errors.ts';

/** One reader under test. */
export interface FuzzTarget {
  /** In kebab-case; names its file of inputs too. */
  readonly name: string;
  /** What a mutation should know of the bytes. */
  readonly format: 'bytes' | 'protobuf' | 'text';
  /** Files whose blocks count as coverage: beginnings of paths in the repository. */
  readonly covers: readonly string[];
  /** Inputs to begin with. */
  readonly seeds: () => readonly Uint8Array[];
  /** Words of the format, put in and written over. */
  readonly words?: readonly (string | Uint8Array)[];
  /** No input is longer; default 4096 bytes. */
  readonly maxBytes?: number;
  /** Throws when the promise is broken. Refusing is no breach: see `orRefused`. */
  readonly check: (bytes: Uint8Array) => void;
}

/** Faults of a server, never of its input. */
const OWN_FAULTS: ReadonlySet<StatusCode> = new Set(['INTERNAL', 'UNKNOWN', 'ABORTED', 'CANCELLED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED']);

/** What `read` gives, or undefined when it refuses with a status that blames the input. Throws what else comes. */
export function orRefused<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (caught) {
    if (caught instanceof ServeError && !OWN_FAULTS.has(caught.code)) {
      refuseBugs(caught);
      return undefined;
    }
    throw caught;
  }
}

/** A refusal that was made of a slip of our own, somewhere below, is none. */
function refuseBugs(refusal: ServeError): void {
  for (let cause = refusal.cause; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof TypeError || cause instanceof ReferenceError) throw cause;
    if (cause instanceof RangeError && /call stack|array (buffer )?(length|allocation)/i.test(cause.message)) throw cause;
  }
}

/** Throws unless two values print the same; bytes and bigints count by value, maps by their entries. */
export function agree(what: string, one: unknown, other: unknown): void {
  const [left, right] = [printed(one), printed(other)];
  if (left === right) return;
  let at = 0;
  while (left[at] === right[at]) at++;
  const from = Math.max(0, at - 60);
  throw new Error(`${what}: from character ${at} on, ${left.slice(from, at + 100)} is not ${right.slice(from, at + 100)}`);
}

function printed(value: unknown): string {
  return (
    JSON.stringify(value, (_, one: unknown) => {
      if (typeof one === 'bigint') return `${one}n`;
      if (typeof one === 'number' && (!Number.isFinite(one) || Object.is(one, -0))) return Object.is(one, -0) ? '-0' : String(one);
      if (one instanceof Map) return [...one].map(([key, item]) => [String(key), item]);
      if (ArrayBuffer.isView(one)) return Buffer.from(one.buffer, one.byteOffset, one.byteLength).toString('hex');
      return one;
    }) ?? 'undefined'
  );
}
