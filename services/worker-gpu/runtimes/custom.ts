/**
 * The runtime of servables of a user's own: a module whose default export makes a loader from a path. It is imported on the executor's thread,
 * and everything of it runs there.
 */

import { type Clock, createSystemClock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import type { Loader } from '../../../extend/servables.ts';
import type { LoadedModel, LoadRequest, Runtime, RuntimeHost, UserModule } from '../runtime.ts';
import { createSharedStates, type SharedStates } from './shared-states.ts';
import { createUserCalls, type UserCalls } from './user-calls.ts';
import { importAdapter, userError } from './user-module.ts';
import { checkedResults, rowsOf, signaturesOf, userInputs } from './user-tensors.ts';

/** The module's entry: see `runtime.ts`. */
export function createRuntime(host: RuntimeHost): Runtime {
  const clock: Clock = createSystemClock();
  const thread: Thread = { states: createSharedStates(), calls: createUserCalls(host.calls, clock) };
  return { load: (request) => load(request, thread) };
}

interface Thread {
  readonly states: SharedStates;
  readonly calls: UserCalls;
}

async function load(request: LoadRequest, { states, calls }: Thread): Promise<LoadedModel> {
  const { module, path, servable } = request;
  if (module === undefined || servable === undefined)
    throw new ServeError('INTERNAL', `${path} was to be loaded by a servable module, and none is named (this is a bug)`);
  const adapter = await importAdapter(module);
  await using opening = new AsyncDisposableStack();
  const account = opening.use(states.open(module.url));
  using call = calls.open(request.context);
  const { loader, version } = await guarded(module, `loading ${path}`, async () => {
    const made: Loader = await adapter(path, { name: servable.name, version: servable.version });
    await made.estimate();
    const { signal } = call;
    const shared = account.shared;
    const log = (message: string, facts = {}) =>
      calls.log(module.name, message, { ...facts, model: servable.name, version: servable.version });
    return { loader: made, version: await made.load({ signal, shared, log }) };
  });
  opening.defer(async () => loader.unload?.());
  if (typeof version?.run !== 'function')
    throw new ServeError('INVALID_ARGUMENT', `servable module ${module.name}: load gives no run function`);
  const signatures = signaturesOf(module.name, version.signatures);
  const opened = opening.move();
  return {
    description: {
      signatures,
      stateful: version.stateful === true,
      executionProvider: 'cpu',
      userCode: module.name,
      remarks: [],
    },
    async run(name, outputs, inputs, context) {
      const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
      if (signature === undefined) throw new ServeError('FAILED_PRECONDITION', `Serving signature key "${name}" not found.`);
      using running = calls.open(context);
      const { signal, remainingMs, infer } = running;
      const given = userInputs(inputs);
      const results = await guarded(module, `running ${name}`, async () =>
        version.run(name, given, { outputs, signal, remainingMs, infer }),
      );
      return checkedResults(module.name, signature, { outputs, rows: rowsOf(signature, inputs) }, results);
    },
    async close() {
      await guarded(module, `unloading ${path}`, () => opened.disposeAsync());
      await calls.flush();
    },
  };
}

/** Runs user code; what it throws is told with its name. */
async function guarded<Result>(module: UserModule, doing: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (caught) {
    throw userError(module, doing, caught);
  }
}
