/**
 * A network of two dense layers, trained by stochastic gradient descent with momentum. Plain loops over float64 in a fixed order with a
 * seeded generator: the same seed gives the same weights to the bit.
 */
import { type Digits, imageOf, PIXELS } from './dataset.ts';

/** Classes: the digits 0 to 9. */
export const CLASSES = 10;

/** What the network knows. */
export interface Weights {
  readonly hidden: number;
  /** Row-major, shape [64, hidden]. */
  readonly w1: Float64Array;
  /** Shape [hidden]. */
  readonly b1: Float64Array;
  /** Row-major, shape [hidden, 10]. */
  readonly w2: Float64Array;
  /** Shape [10]. */
  readonly b2: Float64Array;
}

export interface TrainingPlan {
  readonly hidden: number;
  readonly epochs: number;
  readonly batchSize: number;
  /** Step at the first epoch; falls along a half cosine to zero at the last. */
  readonly learningRate: number;
  readonly momentum: number;
  /** Share of each weight that decays per step, times the learning rate. */
  readonly weightDecay: number;
  readonly seed: number;
}

/** Learns from images shifted by up to a pixel, so that where a digit lies on its grid matters less. */
export function trainNetwork(digits: Digits, plan: TrainingPlan): Weights {
  const random = createRandom(plan.seed);
  const weights = initialWeights(plan.hidden, random);
  const layers = [weights.w1, weights.b1, weights.w2, weights.b2];
  const gradient = emptyWeights(plan.hidden);
  const gradients = [gradient.w1, gradient.b1, gradient.w2, gradient.b2];
  const velocities = layers.map((layer) => new Float64Array(layer.length));
  const order = Array.from({ length: digits.count }, (_, index) => index);
  const pixels = new Float64Array(PIXELS);
  for (let epoch = 0; epoch < plan.epochs; epoch++) {
    shuffle(order, random);
    const rate = plan.learningRate * 0.5 * (1 + Math.cos((Math.PI * epoch) / plan.epochs));
    for (let start = 0; start < order.length; start += plan.batchSize) {
      const batch = order.slice(start, start + plan.batchSize);
      for (const layer of gradients) layer.fill(0);
      for (const index of batch) {
        shiftInto(pixels, imageOf(digits, index), Math.floor(random() * 3) - 1, Math.floor(random() * 3) - 1);
        addGradient(gradient, weights, pixels, digits.labels[index] ?? 0);
      }
      layers.forEach((layer, which) => {
        step(layer, velocities[which] ?? layer, gradients[which] ?? layer, { rate, scale: 1 / batch.length, plan });
      });
    }
  }
  return weights;
}

/** The share of images whose most probable class is their label. */
export function accuracy(weights: Weights, digits: Digits): number {
  let right = 0;
  const scaled = new Float64Array(PIXELS);
  for (let index = 0; index < digits.count; index++) {
    shiftInto(scaled, imageOf(digits, index), 0, 0);
    const { logits } = forward(weights, scaled);
    if (logits.indexOf(Math.max(...logits)) === digits.labels[index]) right++;
  }
  return right / digits.count;
}

/** A seeded generator of numbers in [0, 1): mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function emptyWeights(hidden: number): Weights {
  return {
    hidden,
    w1: new Float64Array(PIXELS * hidden),
    b1: new Float64Array(hidden),
    w2: new Float64Array(hidden * CLASSES),
    b2: new Float64Array(CLASSES),
  };
}

/** Uniform weights whose variance keeps signals level through a ReLU (He, 2015); biases zero. */
function initialWeights(hidden: number, random: () => number): Weights {
  const weights = emptyWeights(hidden);
  const bound1 = Math.sqrt(6 / PIXELS);
  const bound2 = Math.sqrt(6 / hidden);
  for (let i = 0; i < weights.w1.length; i++) weights.w1[i] = (2 * random() - 1) * bound1;
  for (let i = 0; i < weights.w2.length; i++) weights.w2[i] = (2 * random() - 1) * bound2;
  return weights;
}

function shuffle(order: number[], random: () => number): void {
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = kept;
  }
}

/** Writes the image moved by (dx, dy) pixels, with levels scaled to 0..1; what enters at an edge is paper. */
function shiftInto(target: Float64Array, image: Float64Array, dx: number, dy: number): void {
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 8; x++) {
      const fromX = x - dx;
      const fromY = y - dy;
      const inside = fromX >= 0 && fromX < 8 && fromY >= 0 && fromY < 8;
      target[y * 8 + x] = inside ? (image[fromY * 8 + fromX] ?? 0) / 16 : 0;
    }
  }
}

function forward(weights: Weights, pixels: Float64Array): { readonly activations: Float64Array; readonly logits: Float64Array } {
  const activations = Float64Array.from(weights.b1);
  for (let i = 0; i < PIXELS; i++) {
    const level = pixels[i] ?? 0;
    if (level === 0) continue;
    for (let j = 0; j < weights.hidden; j++) activations[j] = (activations[j] ?? 0) + level * (weights.w1[i * weights.hidden + j] ?? 0);
  }
  const logits = Float64Array.from(weights.b2);
  for (let j = 0; j < weights.hidden; j++) {
    const activation = Math.max(0, activations[j] ?? 0);
    activations[j] = activation;
    if (activation === 0) continue;
    for (let k = 0; k < CLASSES; k++) logits[k] = (logits[k] ?? 0) + activation * (weights.w2[j * CLASSES + k] ?? 0);
  }
  return { activations, logits };
}

/** Adds the gradient of the cross-entropy of one image to `gradient`. */
function addGradient(gradient: Weights, weights: Weights, pixels: Float64Array, label: number): void {
  const { activations, logits } = forward(weights, pixels);
  const peak = Math.max(...logits);
  const slopes = logits.map((logit) => Math.exp(logit - peak));
  const total = slopes.reduce((sum, value) => sum + value, 0);
  for (let k = 0; k < CLASSES; k++) {
    const slope = (slopes[k] ?? 0) / total - (k === label ? 1 : 0);
    slopes[k] = slope;
    gradient.b2[k] = (gradient.b2[k] ?? 0) + slope;
  }
  for (let j = 0; j < weights.hidden; j++) {
    const activation = activations[j] ?? 0;
    if (activation === 0) continue;
    let slope = 0;
    for (let k = 0; k < CLASSES; k++) {
      const at = j * CLASSES + k;
      gradient.w2[at] = (gradient.w2[at] ?? 0) + activation * (slopes[k] ?? 0);
      slope += (slopes[k] ?? 0) * (weights.w2[at] ?? 0);
    }
    gradient.b1[j] = (gradient.b1[j] ?? 0) + slope;
    for (let i = 0; i < PIXELS; i++) {
      const at = i * weights.hidden + j;
      gradient.w1[at] = (gradient.w1[at] ?? 0) + slope * (pixels[i] ?? 0);
    }
  }
}

function step(
  layer: Float64Array,
  velocity: Float64Array,
  gradient: Float64Array,
  by: { readonly rate: number; readonly scale: number; readonly plan: TrainingPlan },
): void {
  const { momentum, weightDecay } = by.plan;
  for (let i = 0; i < layer.length; i++) {
    const weight = layer[i] ?? 0;
    const pace = momentum * (velocity[i] ?? 0) - by.rate * ((gradient[i] ?? 0) * by.scale + weightDecay * weight);
    velocity[i] = pace;
    layer[i] = weight + pace;
  }
}
