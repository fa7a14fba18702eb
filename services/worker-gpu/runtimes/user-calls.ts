/** The thread's side of what user code asks of the main thread: see `call-protocol.ts`. */

import type { Clock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { InferOther, NamedResults } from '../../../extend/servables.ts';
import { type CallPort, type FromUserCode, postable, type RunContext, type ToUserCode } from '../call-protocol.ts';
import { tensorOfUser, userTensor } from './user-tensors.ts';

/** A run or a load as user code sees it. Disposing it ends what it may ask. */
export interface OpenCall extends Disposable {
  /** Aborts when nobody waits any more. */
  readonly signal: AbortSignal;
  remainingMs(): number;
  infer(request: InferOther): Promise<NamedResults>;
}

/** What user code on this thread may ask for. */
export interface UserCalls {
  /** `undefined`: what runs belongs to no request. */
  open(context: RunContext | undefined): OpenCall;
  /** Resolves when the main thread has heard all that was said before: what ends this thread may come next. */
  flush(): Promise<void>;
  log(module: string, message: string, facts: Readonly<Record<string, string | number | boolean>>): void;
}

interface Waiting {
  readonly run: number;
  readonly resolve: (results: NamedResults) => void;
  readonly reject: (error: ServeError) => void;
}

/** Makes it over a port; without one, nothing can be called. */
export function createUserCalls(port: CallPort | undefined, clock: Clock): UserCalls {
  const waiting = new Map<number, Waiting>();
  const aborting = new Map<number, AbortController>();
  const flushing: (() => void)[] = [];
  let calls = 0;
  let open = 0;

  port?.on('message', (message: ToUserCode) => {
    if (message.type === 'flushed') {
      flushing.shift()?.();
      return;
    }
    if (message.type === 'abort') {
      aborting.get(message.run)?.abort(new ServeError(message.code, message.message));
      return;
    }
    const asked = waiting.get(message.call);
    waiting.delete(message.call);
    if (message.type === 'error') asked?.reject(new ServeError(message.code, message.message));
    else asked?.resolve(Object.fromEntries(message.outputs.map(({ name, ...tensor }) => [name, userTensor(tensor)])));
  });
  port?.unref();

  const post = (message: FromUserCode, transfer: readonly ArrayBuffer[] = []) => port?.postMessage(message, transfer);

  /** While something is under way the thread must not end for want of anything to wait for: answers come by this port. */
  function hold(): Disposable {
    if (++open === 1) port?.ref();
    return {
      [Symbol.dispose]() {
        if (--open === 0) port?.unref();
      },
    };
  }

  return {
    async flush() {
      if (port === undefined) return;
      using _held = hold();
      await new Promise<void>((resolve) => {
        flushing.push(resolve);
        post({ type: 'flush' });
      });
    },
    log: (module, message, facts) => post({ type: 'log', module, message: String(message), facts: { ...facts } }),
    open(context) {
      const controller = new AbortController();
      const startedMs = clock.now();
      const run = context?.run ?? -1;
      const budgetMs = context?.budgetMs ?? Number.POSITIVE_INFINITY;
      let ended = false;
      aborting.set(run, controller);
      const held = hold();
      return {
        signal: controller.signal,
        remainingMs: () => Math.max(0, budgetMs - (clock.now() - startedMs)),
        async infer(request) {
          if (port === undefined || context === undefined)
            throw new ServeError('FAILED_PRECONDITION', 'other servables can be called while a request is answered, and not otherwise');
          if (ended) throw new ServeError('CANCELLED', `the call of ${request.model} came after its batch had ended`);
          controller.signal.throwIfAborted();
          const call = ++calls;
          const { tensors, transfer } = postable(inputsOf(request));
          const { model, version = null, label = null, signature = '', outputs = [] } = request;
          if (version !== null && label !== null)
            throw new ServeError('INVALID_ARGUMENT', `a call of ${model} names both a version and a label`);
          return new Promise((resolve, reject) => {
            waiting.set(call, { run, resolve, reject });
            post(
              {
                type: 'infer',
                run,
                call,
                request: { model: String(model), version, label, signature, outputs: [...outputs], inputs: tensors },
              },
              transfer,
            );
          });
        },
        [Symbol.dispose]() {
          ended = true;
          aborting.delete(run);
          for (const [call, asked] of waiting) {
            if (asked.run !== run) continue;
            waiting.delete(call);
            asked.reject(new ServeError('CANCELLED', 'the batch had ended before the call was answered'));
          }
          held[Symbol.dispose]();
        },
      };
    },
  };
}

function inputsOf({ model, inputs }: InferOther): readonly (readonly [string, Tensor])[] {
  return Object.entries(inputs).map(([name, tensor]) => [name, tensorOfUser(`input "${name}" of a call of ${model}`, tensor)]);
}
