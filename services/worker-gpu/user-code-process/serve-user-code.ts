/**
 * The body of a guarded executor's process. It does one thing at a time, in order, while its event loop turns: code of users may wait for files,
 * timers and other servables.
 */
import { Socket } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import { createSystemClock } from '#mesh/clock.ts';
import { BYTE_PIPE_FD, carry, createBytePipe, uncarry } from '../byte-pipe.ts';
import type { FromUserCode } from '../call-protocol.ts';
import type { FromProcess, FromThread, ModelKey, ToProcess, ToThread } from '../executor-protocol.ts';
import { createExecutorWork, type PlaceOutputs, placeOutputs, type RunMessage, viewInputs } from '../executor-work.ts';
import { createCallMeter } from './call-meter.ts';

/** The part of Node's `process` that it touches. */
export interface GuardedProcess {
  send?(message: FromProcess, handle: undefined, options: undefined, sent: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: ToProcess) => void): unknown;
  on(event: 'disconnect' | 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (caught: unknown) => void): unknown;
  exit(code: number): never;
}

/** Serves the executor that started this process, until it is ended. */
export function serveUserCode(host: GuardedProcess): void {
  const clock = createSystemClock();
  const { port1: calls, port2: userCalls } = new MessageChannel();
  const pipe = createBytePipe(new Socket({ fd: BYTE_PIPE_FD, readable: true, writable: true }));
  const names = new Map<ModelKey, readonly string[]>();
  const meter = createCallMeter(clock, (name) => send({ type: 'entered', name }));
  const work = createExecutorWork(clock, { calls: userCalls, enter: meter.enter });
  let last: Promise<void> = Promise.resolve();

  function send(message: FromProcess, sent: () => void = () => {}): void {
    host.send?.(message, undefined, undefined, sent);
  }

  async function handle(message: ToThread): Promise<FromThread> {
    if (message.type === 'load') {
      names.set(message.model, message.userCode);
      return work.load(message);
    }
    if (message.type === 'unload') {
      names.delete(message.model);
      return work.unload(message.model);
    }
    const { model, inputs, carried } = message;
    const memory = carried === undefined ? undefined : await uncarry(pipe, carried);
    return meter.measure(names.get(model) ?? [], () => work.run(message, () => viewInputs(inputs, memory), placeFor(message)));
  }

  host.on('message', (message) => {
    if (message.type === 'calls') calls.postMessage(message.message);
    else
      last = last.then(async () => {
        const answer = await handle(message);
        const carries = answer.type === 'ran' && answer.carried instanceof Uint8Array;
        send(carries ? { ...answer, carried: carry(pipe, answer.carried) } : answer);
      });
  });
  calls.on('message', (message: FromUserCode) => send({ type: 'calls', message }));

  // A signal to the whole group of processes is the worker's to act upon: it drains, and this process may be needed for that.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) host.on(signal, () => {});
  host.on('disconnect', () => host.exit(0));
  const leave = (caught: unknown) => send({ type: 'threw', text: textOf(caught) }, () => host.exit(1));
  host.on('uncaughtException', leave);
  host.on('unhandledRejection', leave);
}

function placeFor({ outputs: names }: RunMessage): PlaceOutputs {
  return (outputs) => {
    const { places, memory } = placeOutputs(names, outputs, (byteLength) => new ArrayBuffer(byteLength));
    return { outputs: places, carried: new Uint8Array(memory) };
  };
}

function textOf(caught: unknown): string {
  return caught instanceof Error ? `${caught.name}: ${caught.message}` : String(caught);
}
