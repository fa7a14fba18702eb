/** Whether an input keeps a target's promise, within bounds on time and memory. */
import type { FuzzTarget } from './target.ts';

/** How an input broke its promise. */
export interface Breach {
  readonly kind: 'failed' | 'slow' | 'memory' | 'hang';
  /** One line. */
  readonly why: string;
}

/** CPU time that any input may take, and more for each byte: generous, for coverage and neighbours cost too. */
const BASE_MS = 400;
const MS_PER_BYTE = 0.004;
/** Memory that any input may take, and more for each byte. */
const BASE_BYTES = 96 * 1024 * 1024;
const BYTES_PER_BYTE = 1000;

/** Runs a target on an input. What is slow or large is run again first: a collection of garbage looks the same, once. */
export function judge({ check }: FuzzTarget, input: Uint8Array): Breach | undefined {
  for (let again = 0; ; again++) {
    const cpuBefore = process.threadCpuUsage();
    const heapBefore = heapBytes();
    try {
      check(new Uint8Array(input));
    } catch (caught) {
      return { kind: 'failed', why: lineOf(caught) };
    }
    const { user, system } = process.threadCpuUsage(cpuBefore);
    const ms = (user + system) / 1000;
    const grown = heapBytes() - heapBefore;
    const slow = ms > BASE_MS + MS_PER_BYTE * input.byteLength;
    const large = grown > BASE_BYTES + BYTES_PER_BYTE * input.byteLength;
    if (!slow && !large) return undefined;
    if (again < 2) continue;
    return slow
      ? { kind: 'slow', why: `${Math.round(ms)} ms of CPU for ${input.byteLength} bytes` }
      : { kind: 'memory', why: `${Math.round(grown / 1e6)} MB for ${input.byteLength} bytes` };
  }
}

function heapBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function lineOf(caught: unknown): string {
  if (!(caught instanceof Error)) return String(caught).slice(0, 400);
  const place = /\(?(?:file:\/\/)?[^\s(]*?\/((?:proto|mesh|savedmodel|services)\/[^\s)]+)/.exec(caught.stack ?? '')?.[1] ?? '';
  return `${caught.name}: ${caught.message}`.split('\n').join(' ').slice(0, 400) + (place === '' ? '' : ` at ${place}`);
}

/** Two breaches with the same key are taken for one fault: numbers and quotations aside, they say the same. */
export function keyOf({ kind, why }: Breach): string {
  const place = / at (\S+)$/.exec(why)?.[1];
  return `${kind} ${place ?? why.slice(0, 60)}`.replace(/[0-9]+(?![0-9:]*$)/g, '#');
}
