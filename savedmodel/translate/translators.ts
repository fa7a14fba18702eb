/** Every translator by the op it translates. */
import { ACTIVATIONS } from './activations.ts';
import { ARITHMETIC } from './arithmetic.ts';
import { BITS } from './bits.ts';
import { BLOCK_CELLS } from './block-cells.ts';
import { COMPARISON } from './comparison.ts';
import { CONVOLUTION } from './convolution.ts';
import { ELEMENTWISE } from './elementwise.ts';
import { GATHERING } from './gathering.ts';
import { IMAGES } from './images.ts';
import { JOINING } from './joining.ts';
import { MATRICES } from './matrices.ts';
import { MATRIX_PRODUCTS } from './matrix-products.ts';
import { NORMALISATION } from './normalisation.ts';
import { PADDING } from './padding.ts';
import { PARTITIONS } from './partitions.ts';
import { PASSING } from './passing.ts';
import { POOLING } from './pooling.ts';
import { QUANTISATION } from './quantisation.ts';
import { REDUCTIONS } from './reductions.ts';
import { SCATTERING } from './scattering.ts';
import { SEQUENCES } from './sequences.ts';
import { SHAPE_OPS } from './shape-ops.ts';
import { SLICING } from './slicing.ts';
import { SPARSE } from './sparse.ts';
import type { Translator } from './translator.ts';

const FAMILIES = [
  PASSING,
  ARITHMETIC,
  ELEMENTWISE,
  COMPARISON,
  ACTIVATIONS,
  REDUCTIONS,
  SHAPE_OPS,
  SLICING,
  JOINING,
  GATHERING,
  PARTITIONS,
  SCATTERING,
  SPARSE,
  MATRIX_PRODUCTS,
  CONVOLUTION,
  POOLING,
  NORMALISATION,
  PADDING,
  IMAGES,
  SEQUENCES,
  MATRICES,
  BITS,
  QUANTISATION,
  BLOCK_CELLS,
];

/** Translators by TensorFlow op. An op that is absent runs on the host or not at all. */
export const TRANSLATORS: ReadonlyMap<string, Translator> = new Map(FAMILIES.flatMap((family) => Object.entries(family)));
