/** SavedModels of the bench, and the same nets as somebody would write them in ONNX: with the weights of the SavedModel's variables. */
import { join } from 'node:path';
import { buildDirectCnn } from './direct-cnn.ts';
import { buildDirectLstm } from './direct-lstm.ts';
import { buildDirectMlp } from './direct-mlp.ts';
import { buildDirectMnist } from './direct-mnist.ts';
import { buildDirectTransformer } from './direct-transformer.ts';
import type { Weights } from './weights.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A SavedModel and its counterpart. */
export interface SavedNet {
  readonly name: string;
  /** One line for the report. */
  readonly what: string;
  /** The folder whose sub-folders are versions. */
  readonly basePath: string;
  /** Values of an integer input are below this. */
  readonly bound: number;
  /** An ONNX model with the same input and outputs as `serving_default`. */
  buildDirect(weights: Weights): Uint8Array;
}

/** Nets made by `make-savedmodels.py`. */
export const SAVED_NETS: readonly SavedNet[] = [
  {
    name: 'cnn',
    what: 'MobileNet-like CNN, 96x96x3, 13 convolutions',
    basePath: join(import.meta.dirname, 'savedmodels/cnn'),
    bound: 1,
    buildDirect: buildDirectCnn,
  },
  {
    name: 'mlp',
    what: 'MLP 784-200-100-10',
    basePath: join(import.meta.dirname, 'savedmodels/mlp'),
    bound: 1,
    buildDirect: buildDirectMlp,
  },
  {
    name: 'lstm',
    what: 'two LSTM layers, 48 steps',
    basePath: join(import.meta.dirname, 'savedmodels/lstm'),
    bound: 1,
    buildDirect: buildDirectLstm,
  },
  {
    name: 'transformer',
    what: 'transformer, 64 tokens, 2 layers, 64 wide',
    basePath: join(import.meta.dirname, 'savedmodels/transformer'),
    bound: 500,
    buildDirect: buildDirectTransformer,
  },
];

/** The digit classifier of the examples. */
export const MNIST: SavedNet = {
  name: 'mnist',
  what: 'mnist example, 784 floats',
  basePath: join(ROOT, 'examples/savedmodels/mnist'),
  bound: 1,
  buildDirect: buildDirectMnist,
};

/** Version 1 of a net. */
export function versionFolder({ basePath }: SavedNet): string {
  return join(basePath, '1');
}
