/** A transition policy of an author, as the fleet's decision asks it: at once, with answers that a thread has computed before. */
import type { Clock } from '#mesh/clock.ts';
import { toServeError } from '#mesh/errors.ts';
import type { PolicyAction, VersionSnapshot } from '../../extend/sources.ts';
import { availabilityPreserving } from './built-in-policies.ts';
import type { RegistryEvents } from './events.ts';
import { createGuardedThread, type UserCodeLimits } from './guarded-thread.ts';
import type { FleetPolicy } from './plan-transitions.ts';
import type { PolicyThreadData } from './policy-thread.ts';
import type { UserModule } from './user-modules.ts';

/** What a policy's module runs on. */
export interface ModulePolicyDeps {
  readonly module: UserModule;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly limits: UserCodeLimits;
  /** Called when an answer has come that was not there when it was asked for. */
  readonly onAnswer: () => void;
}

/** A policy whose thread runs. Disposing it ends the thread. */
export interface ModulePolicy extends FleetPolicy, AsyncDisposable {
  /** Why availability_preserving decided the last time instead of the module, for one model; null when the module decided. */
  trouble(model: string): string | null;
}

interface Answer {
  readonly action: PolicyAction;
  /** Why it is availability_preserving's. */
  readonly trouble: string | null;
  /** When the module is asked once more; Infinity for its own answers. */
  readonly askAgainMs: number;
}

/** Answers that are remembered: a policy is pure, so that the same versions need no second question. */
const MAX_ANSWERS = 2000;
/** A module that could not answer is asked the same again after this: it may have been a moment's trouble. */
const ASK_AGAIN_MS = 30_000;

/** Makes the policy of a module. Its thread starts with the first question. */
export function createModulePolicy({ module, clock, events, limits, onAnswer }: ModulePolicyDeps): ModulePolicy {
  const name = `transition policy ${module.name}`;
  const answers = new Map<string, Answer>();
  const asked = new Set<string>();
  const troubles = new Map<string, string>();
  const written = new Map<string, string>();
  const thread = createGuardedThread({
    name,
    body: new URL('./policy-thread.ts', import.meta.url),
    data: { file: module.file, url: module.url } satisfies PolicyThreadData,
    clock,
    limits,
    onTold: () => {},
    onLost: (error) => events.userThreadLost({ kind: 'policy', name: module.name, error }),
    onCall: (call, outcome) => events.userCodeCalled({ kind: 'policy', name: module.name, call, outcome }),
    onLine: (line) => events.userCodeSaid({ kind: 'policy', name: module.name, line }),
  });

  async function ask(model: string, key: string, versions: readonly VersionSnapshot[]): Promise<void> {
    asked.add(key);
    let answer: Answer;
    try {
      const action = await thread.call({ doing: 'decision', subject: `model ${model}`, order: versions });
      answer = { action: action as PolicyAction, trouble: null, askAgainMs: Number.POSITIVE_INFINITY };
    } catch (caught) {
      const error = toServeError(caught);
      if (error.code === 'CANCELLED') return;
      const trouble = `${error.message}; availability_preserving decided instead`;
      answer = { action: availabilityPreserving(versions), trouble, askAgainMs: clock.now() + ASK_AGAIN_MS };
    }
    asked.delete(key);
    answers.set(key, answer);
    for (const oldest of answers.keys()) if (answers.size > MAX_ANSWERS) answers.delete(oldest);
    onAnswer();
  }

  function note(model: string, trouble: string | null): void {
    if (trouble === null) {
      troubles.delete(model);
      return;
    }
    troubles.set(model, trouble);
    // A plan may ask several times, and be answered well in between: the same trouble is written down once.
    if (written.get(model) === trouble) return;
    written.set(model, trouble);
    events.policyOverruled({ model, name: module.name, why: trouble });
  }

  return {
    roomFirst: false,
    next(model, versions) {
      const key = JSON.stringify([model, versions]);
      const answer = answers.get(key);
      const due = answer === undefined || clock.now() >= answer.askAgainMs;
      if (due && !asked.has(key)) void ask(model, key, versions);
      if (answer === undefined) return 'undecided';
      note(model, answer.trouble);
      return answer.action;
    },
    refused(model, action, why) {
      const wanted = action === null ? 'wants nothing done' : `wants to ${action.type} version ${action.version}`;
      note(model, `${name}: for model ${model} it ${wanted}, but ${why}; availability_preserving decided instead`);
    },
    trouble: (model) => troubles.get(model) ?? null,
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}
