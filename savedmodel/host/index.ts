/** Every op that runs on the host, by its TensorFlow name. Tables are resources and live in `tables.ts`. */
import type { HostKernel } from '../host-value.ts';
import { ARRAY_OPS } from './arrays.ts';
import { FORMAT_OPS } from './as-string.ts';
import { COLOR_OPS } from './color-ops.ts';
import { COMBINED_NMS_OPS } from './combined-nms.ts';
import { COUNTING_OPS } from './counting.ts';
import { CSV_OPS } from './csv.ts';
import { IMAGE_OPS } from './decode-image.ts';
import { ELEMENTWISE_OPS } from './elementwise.ts';
import { ENCODE_OPS } from './encode-png.ts';
import { FOURIER_OPS } from './fourier.ts';
import { FUNCTION_OPS } from './functions.ts';
import { GRADIENT_OPS } from './gradients.ts';
import { INDEXING_OPS } from './indexing.ts';
import { LINEAR_ALGEBRA_OPS } from './linear-algebra.ts';
import { NMS_OPS } from './non-max-suppression.ts';
import { EXAMPLE_OPS } from './parse-example.ts';
import { SEQUENCE_OPS } from './parse-sequence-example.ts';
import { PERMUTATION_OPS } from './permutations.ts';
import { RAGGED_OPS } from './ragged.ts';
import { RANDOM_OPS } from './random.ts';
import { REDUCTION_OPS } from './reductions.ts';
import { RESIZE_OPS } from './resize.ts';
import { SPARSE_OPS } from './sparse.ts';
import { CROSS_OPS } from './sparse-cross.ts';
import { STRING_OPS } from './string-ops.ts';
import { SPLIT_OPS } from './string-split.ts';
import { NORMALISATION_OPS } from './text-normalisation.ts';
import { UNICODE_OPS } from './unicode.ts';

/** Kernels by op name. An op that is not here (nor translated to ONNX, nor a table op) is refused when a model loads. */
export const HOST_OPS: ReadonlyMap<string, HostKernel> = new Map(
  [
    ARRAY_OPS,
    INDEXING_OPS,
    ELEMENTWISE_OPS,
    REDUCTION_OPS,
    STRING_OPS,
    SPLIT_OPS,
    FORMAT_OPS,
    UNICODE_OPS,
    NORMALISATION_OPS,
    CSV_OPS,
    EXAMPLE_OPS,
    SEQUENCE_OPS,
    SPARSE_OPS,
    RAGGED_OPS,
    COUNTING_OPS,
    RESIZE_OPS,
    IMAGE_OPS,
    NMS_OPS,
    ENCODE_OPS,
    CROSS_OPS,
    RANDOM_OPS,
    PERMUTATION_OPS,
    LINEAR_ALGEBRA_OPS,
    FUNCTION_OPS,
    FOURIER_OPS,
    COMBINED_NMS_OPS,
    COLOR_OPS,
    GRADIENT_OPS,
  ].flatMap((family) => Object.entries(family)),
);
