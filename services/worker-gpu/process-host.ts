import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import type { Clock } from '#mesh/clock.ts';
import { BYTE_PIPE_FD, carry, createBytePipe, uncarry } from './byte-pipe.ts';
import type { ThreadCalls } from './call-desk.ts';
import type { ToUserCode } from './call-protocol.ts';
import type { ExecutorHost, HostEnd, HostListener } from './executor-host.ts';
import type { FromProcess, ToProcess } from './executor-protocol.ts';

/** What a process is started with. */
export interface ProcessHostOptions {
  readonly clock: Clock;
  /** Its connection for user code, which ends with it. */
  readonly calls: ThreadCalls | undefined;
  /** The engine's heap may not outgrow this; other memory is for the executor to watch. */
  readonly heapLimitBytes: number;
  /** What it writes to its standard output and error, as it comes. */
  readonly onOutput: (text: string) => void;
}

/** What a process may still have to say once it has ended is waited for this long, in ms: something that it started may hold its pipes. */
const LAST_WORDS_MS = 250;
/** How much of what it wrote last is looked at when it has ended. */
const LAST_TEXT_LENGTH = 4096;

/** After so many characters of output, reading it pauses. */
const OUTPUT_PER_PAUSE = 256 * 1024;
const OUTPUT_PAUSE_MS = 100;

/**
 * Starts a process for code of users. Only a process can be stopped whatever it does, has memory of its own that can be told and bounded, and
 * takes nothing with it when it ends.
 */
export function startProcessHost(listener: HostListener, options: ProcessHostOptions): ExecutorHost {
  const { clock, calls } = options;
  const child = fork(new URL('./user-code-process/main.ts', import.meta.url), {
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    execArgv: [`--max-old-space-size=${Math.ceil(options.heapLimitBytes / 2 ** 20)}`, '--disable-warning=ExperimentalWarning'],
  });
  const gone = new Promise<void>((resolve) => {
    child.once('exit', resolve);
    child.once('error', resolve);
  });
  const pipe = createBytePipe(child.stdio[BYTE_PIPE_FD] as Duplex);
  let ended = false;
  let thrown: string | undefined;
  let lastText = '';

  const end = (how: HostEnd) => {
    if (ended) return;
    ended = true;
    calls?.[Symbol.dispose]();
    listener.onEnd(how);
  };
  /** Errors of a channel that has closed: `exit` tells more. */
  const send = (message: ToProcess) => void child.send(message, () => {});

  calls?.port.on('message', (message: ToUserCode) => send({ type: 'calls', message }));

  /** Settles when all messages before have been handed on; absent: they have. */
  let arriving: Promise<void> | undefined;
  child.on('message', (message: FromProcess) => {
    if (arriving === undefined && !('carried' in message)) return hear(message);
    const handed = arrive(message, arriving).then(() => {
      if (arriving === handed) arriving = undefined;
    });
    arriving = handed;
  });

  async function arrive(message: FromProcess, before: Promise<void> | undefined): Promise<void> {
    await before;
    if (message.type !== 'ran' || message.carried === undefined) hear(message);
    else hear({ ...message, carried: new Uint8Array(await uncarry(pipe, message.carried)) });
  }

  function hear(message: FromProcess): void {
    if (ended) return;
    if (message.type === 'calls') calls?.port.postMessage(message.message);
    else if (message.type === 'entered') listener.onEntered(message.name);
    else if (message.type === 'threw') thrown = message.text;
    else listener.onMessage(message);
  }

  for (const pipe of [child.stdout, child.stderr]) {
    let taken = 0;
    pipe?.setEncoding('utf8').on('data', (text: string) => {
      lastText = (lastText + text).slice(-LAST_TEXT_LENGTH);
      options.onOutput(text);
      taken += text.length;
      if (taken < OUTPUT_PER_PAUSE) return;
      // Code that prints without end waits for its pipe; the worker does not read all day.
      taken = 0;
      pipe.pause();
      clock.schedule(OUTPUT_PAUSE_MS, () => pipe.resume());
    });
  }
  child.on('error', (error) => end({ reason: `could not be started: ${error.message}`, outOfMemory: false }));
  child.on('disconnect', () => child.kill('SIGKILL'));
  child.on('exit', (code, signal) => {
    const tell = () => end(endOf({ code, signal, thrown, lastText }));
    child.once('close', tell);
    clock.schedule(LAST_WORDS_MS, tell);
  });

  return {
    sharesMemory: false,
    post(message) {
      const carries = message.type === 'run' && message.carried instanceof Uint8Array;
      send(carries ? { ...message, carried: carry(pipe, message.carried) } : message);
    },
    memoryBytes: () => residentBytes(child),
    async end() {
      if (!ended) calls?.[Symbol.dispose]();
      ended = true;
      child.kill('SIGKILL');
      await gone;
    },
  };
}

function endOf(facts: {
  readonly code: number | null;
  readonly signal: string | null;
  readonly thrown: string | undefined;
  readonly lastText: string;
}): HostEnd {
  const { code, signal, thrown, lastText } = facts;
  if (thrown !== undefined) return { reason: `threw outside of a call: ${thrown}`, outOfMemory: false };
  const outOfMemory = signal === 'SIGABRT' && /heap out of memory|heap limit|allocation failed/i.test(lastText);
  return { reason: signal === null ? `ended its process with code ${code}` : `ended its process with ${signal}`, outOfMemory };
}

/** Resident memory that is not a file's. Linux tells; elsewhere only the engine's heap is bounded. */
function residentBytes({ pid }: ChildProcess): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    let kibibytes = 0;
    for (const [, amount] of status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)) kibibytes += Number(amount);
    return kibibytes * 1024;
  } catch {
    // Gone, or not Linux.
    return undefined;
  }
}
