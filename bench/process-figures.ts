/** What processes hold and use, as Linux tells it under /proc. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** One look at a process and all that it has started. */
export interface ProcessFigures {
  readonly rssMB: number;
  /** Seconds of a processor that its threads, those that have not ended, have had. */
  readonly cpuSeconds: number;
}

const MB = 2 ** 20;

/** Looks at a process and its descendants. Throws when it is gone, and where there is no /proc as Linux has it. */
export function lookAt(pid: number): ProcessFigures {
  const family = [pid, ...descendants(pid)];
  const seen = family.flatMap((one) => {
    try {
      return [{ rssBytes: residentBytes(one), nanoseconds: usedNanoseconds(one) }];
    } catch (problem) {
      // A child may end between the two looks; the process itself must be there.
      if (one === pid) throw new Error(`process ${pid} cannot be looked at: has it ended, or is this not Linux?`, { cause: problem });
      return [];
    }
  });
  return {
    rssMB: seen.reduce((sum, { rssBytes }) => sum + rssBytes, 0) / MB,
    cpuSeconds: seen.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) / 1e9,
  };
}

/** Processes that this one has started, by the name of their program; none where there is no /proc. */
export function childrenNamed(parent: number, program: string): readonly number[] {
  return allProcesses().flatMap((one) => (one.parent === parent && one.program === program ? [one.pid] : []));
}

function descendants(pid: number): readonly number[] {
  const all = allProcesses();
  const below = (parent: number): readonly number[] => all.flatMap((one) => (one.parent === parent ? [one.pid, ...below(one.pid)] : []));
  return below(pid);
}

function allProcesses(): readonly { readonly pid: number; readonly parent: number; readonly program: string }[] {
  if (!existsSync('/proc')) return [];
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const { program, fields } = readStat(Number(name));
      return [{ pid: Number(name), parent: Number(fields[1]), program }];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

/** VmRSS is exact where the second field of statm may lag behind. */
function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** The scheduler's own count: /proc's ticks of 10 ms are too coarse for a process that is nearly idle. */
function usedNanoseconds(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + nanosecondsOfThread(`/proc/${pid}/task/${thread}`), 0);
}

function nanosecondsOfThread(folder: string): number {
  try {
    return Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return 0; // It ended meanwhile.
  }
}

/** `fields` begin after the program's name, with the state: the name may contain anything. */
function readStat(pid: number): { readonly program: string; readonly fields: readonly string[] } {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const end = text.lastIndexOf(')');
  return { program: text.slice(text.indexOf('(') + 1, end), fields: text.slice(end + 2).split(' ') };
}
