import { utf8 } from '#mesh/bytes.ts';
import type { Clock } from '#mesh/clock.ts';
import type { RegistryAnswer } from '#mesh/control.ts';
import { readRegistryQuestion } from '#mesh/control-reader.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Message, Subscription, Transport } from '#mesh/transport.ts';
import { type ModelConfig, parseModelConfigText } from '#proto/model-server-config.ts';
import type { RegistrySettings } from './config.ts';
import type { RegistryEvents } from './events.ts';
import { checkLabels } from './labels.ts';
import { type Leading, unavailableModels } from './leading.ts';
import { checkModelList, parseModelList, printModelList } from './model-list.ts';
import { knownModules } from './user-modules.ts';
import { planVersions } from './version-policy.ts';

/** Answers `subjects.registry` while this registry leads. */
export function answerQuestions(deps: {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly settings: RegistrySettings;
  readonly leading: Leading;
}): Subscription {
  const { transport, subjects, clock, events, settings, leading } = deps;
  const known = knownModules(settings);
  const allowUnavailable = settings.allowVersionLabelsForUnavailableModels;

  function receive(message: Message): void {
    const { replyTo } = message;
    if (replyTo === undefined) return;
    void answer(message.data).then((found) => {
      try {
        transport.publish(replyTo, utf8(JSON.stringify(found)));
      } catch (caught) {
        events.messageIgnored({ what: 'an answer that could not be sent', error: toServeError(caught) });
      }
    });
  }

  async function answer(data: Uint8Array): Promise<RegistryAnswer> {
    try {
      const question = readRegistryQuestion(data);
      switch (question.type) {
        case 'routing':
          return leading.routing.page(question.after, Math.min(question.maxBytes, transport.maxPayloadBytes - 4096));
        case 'read-config':
          return running();
        case 'reload':
          return await reload(question.configText, question.timeoutMs);
        case 'put-model':
          return await putModel(parseModelConfigText(question.modelText), question.expectedRevision, question.timeoutMs);
        case 'remove-model':
          return await removeModel(question.name, question.expectedRevision);
      }
    } catch (caught) {
      const { code, message } = toServeError(caught);
      return { type: 'error', code, message };
    }
  }

  function running(): RegistryAnswer {
    const { models, revision } = leading.config.running;
    return { type: 'config', configText: printModelList(models), revision };
  }

  /**
   * HandleReloadConfigRequest. Unlike TF Serving, a request with a label that cannot come true changes nothing, where that can be known before;
   * like there, a new model that does not become available fails the call and stays configured.
   */
  async function reload(configText: string, timeoutMs: number): Promise<RegistryAnswer> {
    const models = parseModelList(configText);
    checkModelList(models, leading.config.running.models, known);
    for (const model of models) checkPossible(model);
    const fresh = await leading.apply(models, null);
    await available(fresh, timeoutMs);
    for (const model of models) if (fresh.includes(model.name)) checkPossible(model);
    return running();
  }

  async function putModel(model: ModelConfig, expectedRevision: number | null, timeoutMs: number): Promise<RegistryAnswer> {
    const before = leading.config.running.models;
    const models = before.some((one) => one.name === model.name)
      ? before.map((one) => (one.name === model.name ? model : one))
      : [...before, model];
    checkModelList(models, before, known);
    // The list was read at this revision: somebody else's change in between must not be lost.
    await available(await leading.apply(models, expectedRevision ?? leading.config.running.revision), timeoutMs);
    return running();
  }

  async function removeModel(name: string, expectedRevision: number | null): Promise<RegistryAnswer> {
    const { models, revision } = leading.config.running;
    if (!models.some((model) => model.name === name)) throw new ServeError('NOT_FOUND', `the running configuration has no model ${name}`);
    await leading.apply(
      models.filter((model) => model.name !== name),
      expectedRevision ?? revision,
    );
    return running();
  }

  async function available(fresh: readonly string[], timeoutMs: number): Promise<void> {
    if (fresh.length === 0) return;
    const bound = new AbortController();
    using _timer = clock.schedule(timeoutMs, () => bound.abort());
    const error = unavailableModels(await leading.settled(fresh, bound.signal));
    if (error) throw error;
  }

  /** Refuses labels for versions that the model's folder or policy rules out, as far as that is known. */
  function checkPossible(model: ModelConfig): void {
    const state = leading.model(model.name);
    const view = state?.config?.basePath === model.basePath ? state.watch?.view : undefined;
    const known = view?.reported === true && view.sourceStatus.code === 'OK';
    const looked = known ? planVersions(view.found, model.versionPolicy, (version) => verdictOf(view, version)).look : [];
    checkLabels(
      model.name,
      model.versionLabels,
      state?.labels ?? {},
      {
        available: (version) => state?.versions.get(version)?.state === 'AVAILABLE',
        possible: (version) => !known || (looked.includes(version) && !view.refused.has(version)),
      },
      allowUnavailable,
    );
  }

  return transport.subscribe(subjects.registry, receive);
}

function verdictOf(
  view: { readonly refused: ReadonlyMap<number, unknown>; readonly aspired: readonly { readonly version: number }[] },
  version: number,
) {
  if (view.refused.has(version)) return 'bad' as const;
  return view.aspired.some((usable) => usable.version === version) ? ('good' as const) : ('unknown' as const);
}
