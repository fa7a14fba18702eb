/** Interleaved measurement: what changes on the machine meanwhile changes for all subjects alike. */

/** Measures every subject once per round, A B C A B C …, and returns what each round gave, by subject. */
export async function interleave<Subject extends string, Result>(
  subjects: Readonly<Record<Subject, () => Promise<Result>>>,
  rounds: number,
): Promise<Record<Subject, Result[]>> {
  const names = Object.keys(subjects) as Subject[];
  const results = Object.fromEntries(names.map((name) => [name, [] as Result[]])) as Record<Subject, Result[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) results[name].push(await subjects[name]());
  }
  return results;
}

/** The middle value, or the mean of the two middle ones. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median over the rounds of `numerator / denominator`, each pair from the same round. */
export function medianRatio(numerators: readonly number[], denominators: readonly number[]): number {
  return median(numerators.map((value, round) => value / (denominators[round] ?? Number.NaN)));
}

/** The value below which `share` (0 to 1) of the values lie. NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
