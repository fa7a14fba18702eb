/**
 * Loaded into every process under test (`--import`): on SIGUSR2 it says how many timers have not fired and were not cleared, and how many bytes
 * the last full garbage collection left, which it asks for now and then. The runtime itself tells only of timers that keep the process alive,
 * and the system clock's keep none alive.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
/** One full collection for so many questions: often enough for a slope, too seldom to change how the process behaves. */
const QUESTIONS_PER_COLLECTION = 30;
let questions = 0;
let liveBytes = 0;

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
process.on('SIGUSR2', () => {
  if (questions++ % QUESTIONS_PER_COLLECTION === 0) {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    liveBytes = heapUsed + external;
  }
  process.stderr.write(`resource-probe ${pending.size} ${liveBytes}\n`);
});
