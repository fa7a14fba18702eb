/** Non-maximum suppression over several classes, and by given overlaps. */
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { allocate, dim, type HostKernels, input, int32s, invalid, numbers, scalar, shapeText } from './host-tensor.ts';
import { boxOverlap } from './non-max-suppression.ts';

/** CombinedNonMaxSuppression and NonMaxSuppressionWithOverlaps. */
export const COMBINED_NMS_OPS: HostKernels = {
  CombinedNonMaxSuppression: combined,
  NonMaxSuppressionWithOverlaps: (inputs) => {
    const [overlaps, scores] = [input(inputs, 0), input(inputs, 1)];
    const [most, threshold, least] = [2, 3, 4].map((index) => scalar(input(inputs, index), 'threshold')) as [number, number, number];
    if (overlaps.shape.length !== 2) throw invalid(`overlaps must be 2-D${shapeText(overlaps.shape)}`);
    const count = dim(overlaps.shape, 0);
    if (dim(overlaps.shape, 1) !== count) throw invalid('overlaps must be square');
    if (scores.shape.length !== 1) throw invalid(`scores must be 1-D${shapeText(scores.shape)}`);
    if (dim(scores.shape, 0) !== count) throw invalid('scores has incompatible shape');
    const values = numbers(overlaps);
    const chosen = choose(numbers(scores), least, most, (a, b) => (values[a * count + b] ?? 0) > threshold);
    return [int32s([chosen.length], chosen)];
  },
};

/** The indices of at most `most` items by falling score, without those that overlap a chosen one. */
function choose(scores: ArrayLike<number>, least: number, most: number, overlap: (item: number, chosen: number) => boolean): number[] {
  const order = Array.from(scores, (_, index) => index).filter((index) => (scores[index] ?? 0) > least);
  order.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  const chosen: number[] = [];
  for (const item of order) {
    if (chosen.length >= most) break;
    if (!chosen.some((other) => overlap(item, other))) chosen.push(item);
  }
  return chosen;
}

/** Boxes [batch, boxes, 1 or classes, 4] and scores [batch, boxes, classes]; the classes are suppressed each for itself. */
function combined(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const [boxes, scores] = [input(inputs, 0), input(inputs, 1)];
  const [perClass, total, threshold, least] = [2, 3, 4, 5].map((index) => scalar(input(inputs, index), 'size')) as [
    number,
    number,
    number,
    number,
  ];
  if (boxes.shape.length !== 4) throw invalid(`boxes must be 4-D${shapeText(boxes.shape)}`);
  if (scores.shape.length !== 3) throw invalid(`scores must be 3-D${shapeText(scores.shape)}`);
  const [batch, count, kinds] = [dim(boxes.shape, 0), dim(boxes.shape, 1), dim(boxes.shape, 2)];
  const classes = dim(scores.shape, 2);
  if (dim(boxes.shape, 3) !== 4) throw invalid('boxes must have 4 columns');
  if (dim(scores.shape, 0) !== batch || dim(scores.shape, 1) !== count) throw invalid('boxes and scores must have same number of boxes');
  if (perClass <= 0) throw invalid('max_size_per_class must be positive');
  if (total <= 0) throw invalid('max_total_size must be > 0');
  if (kinds !== 1 && kinds !== classes) throw invalid(`third dimension of boxes must be either 1 or num classes`);
  if (threshold < 0 || threshold > 1) throw invalid('iou_threshold must be in [0, 1]');
  const rows = attrs.has('pad_per_class') && attrs.bool('pad_per_class') ? Math.min(total, perClass * classes) : total;
  const clip = !attrs.has('clip_boxes') || attrs.bool('clip_boxes');
  const [corners, values] = [numbers(boxes), numbers(scores)];
  const outBoxes = allocate('float', batch * rows * 4) as Float32Array;
  const outScores = allocate('float', batch * rows) as Float32Array;
  const outClasses = allocate('float', batch * rows) as Float32Array;
  const found = new Int32Array(batch);
  for (let image = 0; image < batch; image++) {
    const all: { readonly box: number; readonly kind: number; readonly score: number }[] = [];
    for (let kind = 0; kind < classes; kind++) {
      const own = Float64Array.from({ length: count }, (_, box) => values[(image * count + box) * classes + kind] ?? 0);
      const place = (box: number) => (image * count + box) * kinds + (kinds === 1 ? 0 : kind);
      const chosen = choose(own, least, perClass, (a, b) => Math.fround(boxOverlap(corners, place(a), place(b))) > threshold);
      for (const box of chosen) all.push({ box: place(box), kind, score: own[box] ?? 0 });
    }
    all.sort((a, b) => b.score - a.score);
    const kept = all.slice(0, rows);
    found[image] = kept.length;
    kept.forEach((one, index) => {
      const row = image * rows + index;
      outScores[row] = one.score;
      outClasses[row] = one.kind;
      for (let edge = 0; edge < 4; edge++) {
        const value = corners[one.box * 4 + edge] ?? 0;
        outBoxes[row * 4 + edge] = clip ? Math.min(1, Math.max(0, value)) : value;
      }
    });
  }
  return [
    { dtype: 'float', shape: [batch, rows, 4], data: outBoxes },
    { dtype: 'float', shape: [batch, rows], data: outScores },
    { dtype: 'float', shape: [batch, rows], data: outClasses },
    { dtype: 'int32', shape: [batch], data: found },
  ];
}
