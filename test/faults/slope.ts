/** A slope with what is known of it: with 95 % confidence it lies between `low` and `high`. */
export interface Slope {
  readonly slope: number;
  readonly low: number;
  readonly high: number;
}

/** Of a normal distribution: 95 % lie within so many standard deviations. */
const CONFIDENCE = 1.96;

/**
 * Theil and Sen's slope, the median of the slopes between all pairs of points, which single outliers do not move, and Sen's confidence interval
 * for it, from the variance of Kendall's S. The points must not depend on each other: take medians or minima of long enough stretches. Fewer
 * than four points say nothing: the interval is infinite.
 */
export function theilSen(points: readonly (readonly [x: number, y: number])[]): Slope {
  const slopes: number[] = [];
  points.forEach(([x, y], index) => {
    for (const [otherX, otherY] of points.slice(index + 1)) if (otherX !== x) slopes.push((otherY - y) / (otherX - x));
  });
  const sorted = Float64Array.from(slopes).sort();
  const count = points.length;
  const middle = sorted.length / 2;
  const slope = sorted.length === 0 ? 0 : ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
  if (count < 4) return { slope, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const spread = CONFIDENCE * Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18);
  const low = sorted[Math.floor((sorted.length - spread) / 2) - 1];
  const high = sorted[Math.ceil((sorted.length + spread) / 2)];
  return { slope, low: low ?? Number.NEGATIVE_INFINITY, high: high ?? Number.POSITIVE_INFINITY };
}
