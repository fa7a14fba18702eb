/**
 * Loaded into every process under test (`--import`): counts timers that have not fired and were not cleared, and says how many on SIGUSR2. The
 * runtime itself tells only of timers that keep the process alive, and the system clock's keep none alive.
 */
const setTimer = globalThis.setTimeout;
const clearTimer = globalThis.clearTimeout;
const pending = new Set<unknown>();

function counted(callback: (...args: unknown[]) => void, delayMs?: number, ...args: unknown[]): NodeJS.Timeout {
  const timer = setTimer(
    (...given: unknown[]) => {
      pending.delete(timer);
      callback(...given);
    },
    delayMs,
    ...args,
  );
  pending.add(timer);
  return timer;
}

globalThis.setTimeout = Object.assign(counted, setTimer) as typeof setTimeout;
Object.defineProperties(globalThis.setTimeout, Object.getOwnPropertyDescriptors(setTimer));
globalThis.clearTimeout = (timer) => {
  pending.delete(timer);
  clearTimer(timer);
};
process.on('SIGUSR2', () => process.stderr.write(`resource-probe ${pending.size}\n`));
