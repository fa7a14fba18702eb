/** The tensors of a run on their way between an executor and its thread or process. */
import type { DType } from '#mesh/tensor.ts';
import { alignedBytes, grownRegion, type TensorPlace } from './executor-protocol.ts';

/** An input of a run. It lies in a shared buffer of its own, or is written into the executor's. */
export interface RunInput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly source:
    | { readonly type: 'write'; readonly into: (place: Uint8Array) => void }
    | { readonly type: 'shared'; readonly buffer: SharedArrayBuffer };
}

/** An output of a run. `bytes` is a view into the executor's memory, valid during the call that hands it out. */
export interface RunOutput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  /** Present: `bytes` is in memory of its own, and stays as it is after the call. */
  readonly lasting?: true;
}

/** Where a run's inputs lie. */
export interface PlacedInputs {
  readonly inputs: readonly TensorPlace[];
  /** Memory that both sides see; undefined when there is none yet. */
  readonly region: SharedArrayBuffer | undefined;
  /** For a process: the bytes themselves. */
  readonly carried?: Uint8Array;
}

/** Writes inputs for a process: everything travels with the message. Throws what an input's `into` throws. */
export function carryInputs(inputs: readonly RunInput[]): PlacedInputs {
  let byteLength = 0;
  for (const input of inputs) byteLength += alignedBytes(input.byteLength);
  const carried = new Uint8Array(byteLength);
  let next = 0;
  const places = inputs.map(({ name, dtype, shape, byteLength: bytes, source }): TensorPlace => {
    const place = carried.subarray(next, next + bytes);
    if (source.type === 'shared') place.set(new Uint8Array(source.buffer, 0, bytes));
    else if (bytes > 0) source.into(place);
    const placed = { name, dtype, shape, offset: next, byteLength: bytes };
    next += alignedBytes(bytes);
    return placed;
  });
  return { inputs: places, region: undefined, carried };
}

/** Writes inputs for a thread, into `before` when they fit. Throws what an input's `into` throws. */
export function placeInputs(inputs: readonly RunInput[], before: SharedArrayBuffer | undefined): PlacedInputs {
  let byteLength = 0;
  for (const input of inputs) if (input.source.type === 'write') byteLength += alignedBytes(input.byteLength);
  const region = byteLength === 0 && before === undefined ? undefined : grownRegion(before, byteLength);
  let next = 0;
  const places = inputs.map(({ name, dtype, shape, byteLength: bytes, source }): TensorPlace => {
    if (source.type === 'shared') return { name, dtype, shape, offset: 0, byteLength: bytes, buffer: source.buffer };
    const offset = next;
    next += alignedBytes(bytes);
    if (region && bytes > 0) source.into(new Uint8Array(region, offset, bytes));
    return { name, dtype, shape, offset, byteLength: bytes };
  });
  return { inputs: places, region };
}

/** Outputs as views of the memory they lie in; undefined where none has any byte. */
export function viewOutputs(places: readonly TensorPlace[], region: ArrayBufferLike | undefined): RunOutput[] {
  return places.map(({ name, dtype, shape, offset, byteLength, buffer }) => {
    if (buffer !== undefined) return { name, dtype, shape, bytes: new Uint8Array(buffer, offset, byteLength), lasting: true };
    return { name, dtype, shape, bytes: region === undefined ? new Uint8Array(0) : new Uint8Array(region, offset, byteLength) };
  });
}
