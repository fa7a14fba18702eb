/** The input that a fuzzing thread is at, where another thread can see it. */

/** A count of inputs, the length of the current one, and its bytes. */
export interface SharedInput {
  readonly head: Int32Array<SharedArrayBuffer>;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** Room for inputs up to a size; what is longer is cut in the copy. */
export function createSharedInput(mostBytes: number): SharedInput {
  return { head: new Int32Array(new SharedArrayBuffer(8)), bytes: new Uint8Array(new SharedArrayBuffer(mostBytes)) };
}

/** Notes the input that comes next. */
export function writeShared({ head, bytes }: SharedInput, input: Uint8Array): void {
  const part = input.subarray(0, bytes.byteLength);
  bytes.set(part);
  head[1] = part.byteLength;
  Atomics.add(head, 0, 1);
}

/** The number of the current input, from 1, and a copy of it. */
export function readShared({ head, bytes }: SharedInput): { readonly number: number; readonly input: Uint8Array } {
  return { number: Atomics.load(head, 0), input: Uint8Array.from(bytes.subarray(0, head[1])) };
}
