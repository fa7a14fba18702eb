/**
 * Trains the digit recogniser and writes it as a version folder. Takes about a second; the same data and plan give the same file.
 *
 *     node examples/digits/train.ts [FOLDER]        default: examples/models/digits/1
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readDigits } from './dataset.ts';
import { accuracy, type TrainingPlan, trainNetwork } from './network.ts';
import { digitsModel, digitsSignatures } from './onnx-file.ts';

const PLAN: TrainingPlan = { hidden: 128, epochs: 60, batchSize: 16, learningRate: 0.1, momentum: 0.9, weightDecay: 1e-4, seed: 7 };

const folder = process.argv[2] ?? join(import.meta.dirname, '../models/digits/1');
const { training, heldOut } = readDigits();
const weights = trainNetwork(training, PLAN);
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
console.log(`${training.count} training images: ${percent(accuracy(weights, training))} right`);
console.log(`${heldOut.count} held-out images: ${percent(accuracy(weights, heldOut))} right`);
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'model.onnx'), digitsModel(weights));
writeFileSync(join(folder, 'signatures.json'), digitsSignatures());
console.log(`wrote ${folder}`);
