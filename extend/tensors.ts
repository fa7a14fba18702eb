/** Tensors as user code sees them. */

export type { DType } from '#mesh/tensor.ts';
export type { HostAttrs as OpAttributes, HostData as TensorData, HostTensor as TypedTensor } from '../savedmodel/host-value.ts';

/** A shape that is known in part: `null` for an unknown rank, -1 for an unknown size. */
export type PartialShape = readonly number[] | null;
