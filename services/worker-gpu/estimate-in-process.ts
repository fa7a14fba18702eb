import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '#mesh/clock.ts';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import type { EstimateAnswer, EstimateQuestion } from './runtimes/estimate-process.ts';

/** What bounds user code that estimates. */
export interface EstimateLimits {
  readonly clock: Clock;
  readonly limitMs: number;
  /** Of the process's heap. */
  readonly memoryBytes: number;
}

/**
 * What a servable module says that a version will take, in bytes, asked in a process of its own: it is user code, and nothing is loaded yet.
 * Rejects with the module's error, INTERNAL when the process dies or takes too long, or the signal's reason.
 */
export function estimateInProcess(
  question: EstimateQuestion,
  signal: AbortSignal,
  { clock, limitMs, memoryBytes }: EstimateLimits,
): Promise<number> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const child = fork(fileURLToPath(new URL('./runtimes/estimate-process.ts', import.meta.url)), {
      execArgv: [`--max-old-space-size=${Math.max(64, Math.floor(memoryBytes / 2 ** 20))}`, '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const settle = (finish: () => void) => {
      late[Symbol.dispose]();
      signal.removeEventListener('abort', onAbort);
      child.kill('SIGKILL');
      finish();
    };
    const fail = (why: string) =>
      settle(() => reject(new ServeError('INTERNAL', `servable module ${question.module.name} ${why} estimating ${question.path}`)));
    const late = clock.schedule(limitMs, () => fail(`took longer than ${limitMs} ms (--user_code_call_limit_ms)`));
    const onAbort = () => settle(() => reject(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    child.once('message', (message) =>
      settle(() => {
        const answer = message as EstimateAnswer;
        if (answer.type === 'estimated') resolve(answer.bytes);
        else reject(new ServeError(answer.code as StatusCode, answer.message));
      }),
    );
    child.on('error', (error) => fail(`has no process (${error.message})`));
    child.once('exit', (code, by) => fail(`ended its process (${by ?? `code ${code}`})`));
    // That it could not be sent is what `exit` or `error` tells as well.
    child.send(question, () => {});
  });
}
