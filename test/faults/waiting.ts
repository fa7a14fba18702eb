/** Waiting for real processes in real time. */

/** Resolves after `ms`. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Asks until the answer is not undefined; rejects with `what` when it takes longer than `boundMs`. */
export async function until<Answer>(
  what: string,
  boundMs: number,
  ask: () => Promise<Answer | undefined> | Answer | undefined,
): Promise<Answer> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${boundMs / 1000} s`);
    await pause(50);
  }
}
