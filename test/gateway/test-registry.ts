/** A leading registry for gateway tests: it holds a routing table, answers questions about it and publishes changes. */
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import {
  DEFAULT_BATCHING,
  OK_STATUS,
  type RegistryAnswer,
  type RegistryQuestion,
  type RoutedModel,
  type RoutedVersion,
  type RoutingUpdate,
} from '#mesh/control.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { Transport } from '#mesh/transport.ts';
import { halfSignature, subjects } from './half-mesh.ts';

export interface TestRegistry extends Disposable {
  fencingToken: number;
  revision: number;
  readonly models: Map<string, RoutedModel>;
  /** Questions it was asked. */
  readonly questions: RegistryQuestion[];
  /** Changes the table; `quietly` as if the update was lost on the way. */
  change(change: { readonly models?: readonly RoutedModel[]; readonly removed?: readonly string[]; readonly quietly?: boolean }): void;
  publish(update: RoutingUpdate): void;
}

export function routedVersion(version: number, change: Partial<RoutedVersion> = {}): RoutedVersion {
  return {
    version,
    state: 'AVAILABLE',
    status: OK_STATUS,
    signatures: { serving_default: halfSignature } satisfies Signatures,
    routable: true,
    batching: DEFAULT_BATCHING,
    stateful: false,
    ...change,
  };
}

export function routedModel(name: string, versions: readonly RoutedVersion[], labels: Readonly<Record<string, number>> = {}): RoutedModel {
  return { name, versions, labels };
}

/** Starts it with one model per page, so that every table of two models needs two pages. */
export function startTestRegistry(
  transport: Transport,
  models: readonly RoutedModel[],
  answerOther: (question: RegistryQuestion) => RegistryAnswer = () => ({ type: 'error', code: 'UNIMPLEMENTED', message: 'not here' }),
): TestRegistry {
  const questions: RegistryQuestion[] = [];
  const registry: TestRegistry = {
    fencingToken: 1,
    revision: 1,
    models: new Map(models.map((model) => [model.name, model])),
    questions,
    change({ models: changed = [], removed = [], quietly = false }) {
      for (const name of removed) registry.models.delete(name);
      for (const model of changed) registry.models.set(model.name, model);
      registry.revision++;
      if (!quietly) registry.publish({ fencingToken: registry.fencingToken, revision: registry.revision, models: changed, removed });
    },
    publish: (update) => transport.publish(subjects.routing, utf8(JSON.stringify(update))),
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
  const subscription = transport.subscribe(subjects.registry, (message) => {
    const question = JSON.parse(fromUtf8(message.data)) as RegistryQuestion;
    questions.push(question);
    const answer = question.type === 'routing' ? page(question.after) : answerOther(question);
    if (message.replyTo !== undefined) transport.publish(message.replyTo, utf8(JSON.stringify(answer)));
  });

  function page(after: string): RegistryAnswer {
    const names = [...registry.models.keys()].sort();
    const name = names.find((one) => one > after);
    const model = name === undefined ? undefined : registry.models.get(name);
    return {
      type: 'routing',
      update: { fencingToken: registry.fencingToken, revision: registry.revision, models: model ? [model] : [], removed: [] },
      next: name === undefined || name === names.at(-1) ? null : name,
    };
  }
  return registry;
}
