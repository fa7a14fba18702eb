import type { ToThread } from './executor-protocol.ts';

/** What bounds the code of users. */
export interface CallLimits {
  /** For a run or an unload, in ms. */
  readonly callMs: number;
  /** For a load, in ms. */
  readonly loadMs: number;
  /** Memory beyond what its servables were estimated to need, in bytes. */
  readonly memoryBytes: number;
}

/** How long an executor may take for a message of this type, in ms. */
export function limitOf(type: ToThread['type'], limits: CallLimits): number {
  return type === 'load' ? limits.loadMs : limits.callMs;
}

/** What is said of one that took longer: a sentence without its subject. */
export function overdue(type: ToThread['type'], limits: CallLimits): string {
  if (type === 'load') return `did not finish loading within ${limits.loadMs} ms (--user_code_load_limit_ms)`;
  return `did not finish ${type === 'run' ? 'a call' : 'unloading'} within ${limits.callMs} ms (--user_code_call_limit_ms)`;
}
