/** Non-maximum suppression: boxes by falling score, without those that overlap a chosen one too much (strictly more than the threshold). */
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { dim, fromNumbers, type HostKernels, input, int32s, invalid, numbers, scalar, shapeText } from './host-tensor.ts';

/** NonMaxSuppression to V5 (soft included). */
export const NMS_OPS: HostKernels = {
  NonMaxSuppression: (inputs, attrs) => [select(inputs, attrs.float('iou_threshold'), Number.NEGATIVE_INFINITY, 0).indices],
  NonMaxSuppressionV2: (inputs) => [select(inputs, scalar(input(inputs, 3), 'iou_threshold'), Number.NEGATIVE_INFINITY, 0).indices],
  NonMaxSuppressionV3: (inputs) => [
    select(inputs, scalar(input(inputs, 3), 'iou_threshold'), scalar(input(inputs, 4), 'score_threshold'), 0).indices,
  ],
  NonMaxSuppressionV4: (inputs, attrs) => {
    const chosen = select(inputs, scalar(input(inputs, 3), 'iou_threshold'), scalar(input(inputs, 4), 'score_threshold'), 0);
    const { indices, valid } = padded(chosen, inputs, attrs);
    return [indices, valid];
  },
  NonMaxSuppressionV5: (inputs, attrs) => {
    const [iou, score, sigma] = [3, 4, 5].map((index) => scalar(input(inputs, index), 'threshold')) as [number, number, number];
    const { indices, scores, valid } = padded(select(inputs, iou, score, sigma), inputs, attrs);
    return [indices, scores, valid];
  },
};

interface Chosen {
  readonly indices: HostTensor;
  readonly scores: HostTensor;
  readonly valid: HostTensor;
}

/** Chooses boxes [boxes, 4] of (y1, x1, y2, x2), in either order of corners. With a sigma, overlaps of any size lower scores and none excludes. */
function select(inputs: readonly HostTensor[], iouThreshold: number, scoreThreshold: number, sigma: number): Chosen {
  const boxes = input(inputs, 0);
  const scoreTensor = input(inputs, 1);
  const most = scalar(input(inputs, 2), 'max_output_size');
  if (boxes.shape.length !== 2) throw invalid(`boxes must be 2-D${shapeText(boxes.shape)}`);
  if (dim(boxes.shape, 1) !== 4) throw invalid('boxes must have 4 columns');
  if (scoreTensor.shape.length !== 1) throw invalid(`scores must be 1-D${shapeText(scoreTensor.shape)}`);
  if (dim(scoreTensor.shape, 0) !== dim(boxes.shape, 0)) throw invalid('scores has incompatible shape');
  if (iouThreshold < 0 || iouThreshold > 1) throw invalid('iou_threshold must be in [0, 1]');
  if (sigma < 0) throw invalid('soft_nms_sigma must be >= 0');
  const corners = numbers(boxes);
  const scores = numbers(scoreTensor);
  const scale = sigma > 0 ? -0.5 / sigma : 0;
  const candidates = Array.from(scores, (score, box) => ({ box, score, from: 0 })).filter((one) => one.score > scoreThreshold);
  const order = (a: { readonly box: number; readonly score: number }, b: { readonly box: number; readonly score: number }) =>
    b.score - a.score || a.box - b.box;
  candidates.sort(order);
  const chosen: { readonly box: number; readonly score: number }[] = [];
  while (chosen.length < most) {
    const next = candidates.shift();
    if (next === undefined) break;
    const before = next.score;
    let excluded = false;
    for (let at = chosen.length - 1; at >= next.from; at--) {
      const overlap = Math.fround(boxOverlap(corners, next.box, chosen[at]?.box ?? 0));
      if (overlap > iouThreshold && sigma === 0) {
        excluded = true;
        break;
      }
      if (sigma > 0) next.score = Math.fround(next.score * Math.exp(scale * overlap * overlap));
      if (next.score <= scoreThreshold) break;
    }
    next.from = chosen.length;
    if (excluded) continue;
    if (next.score === before) {
      chosen.push({ box: next.box, score: next.score });
      continue;
    }
    if (next.score > scoreThreshold) {
      candidates.push(next);
      candidates.sort(order);
    }
  }
  return {
    indices: int32s(
      [chosen.length],
      chosen.map((one) => one.box),
    ),
    scores: fromNumbers(
      scoreTensor.dtype,
      [chosen.length],
      chosen.map((one) => one.score),
    ),
    valid: int32s([], [chosen.length]),
  };
}

function padded(chosen: Chosen, inputs: readonly HostTensor[], attrs: HostAttrs): Chosen {
  if (!attrs.has('pad_to_max_output_size') || !attrs.bool('pad_to_max_output_size')) return chosen;
  const most = scalar(input(inputs, 2), 'max_output_size');
  const fill = (tensor: HostTensor) => {
    const values = new Float64Array(most);
    values.set(Array.from(numbers(tensor)));
    return fromNumbers(tensor.dtype, [most], values);
  };
  return { indices: fill(chosen.indices), scores: fill(chosen.scores), valid: chosen.valid };
}

/** Intersection over union of two boxes of `corners` [boxes, 4], corners in either order; 0 for a box without area. */
export function boxOverlap(corners: ArrayLike<number>, first: number, second: number): number {
  const edge = (box: number, a: number, b: number) => {
    const one = corners[box * 4 + a] ?? 0;
    const two = corners[box * 4 + b] ?? 0;
    return [Math.min(one, two), Math.max(one, two)] as const;
  };
  const area = (box: number) => {
    const [y1, y2] = edge(box, 0, 2);
    const [x1, x2] = edge(box, 1, 3);
    return (y2 - y1) * (x2 - x1);
  };
  if (area(first) <= 0 || area(second) <= 0) return 0;
  const overlap = (a: number, b: number) => {
    const [low1, high1] = edge(first, a, b);
    const [low2, high2] = edge(second, a, b);
    return Math.max(0, Math.min(high1, high2) - Math.max(low1, low2));
  };
  const shared = overlap(0, 2) * overlap(1, 3);
  return shared / (area(first) + area(second) - shared);
}
