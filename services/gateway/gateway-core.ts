/** The core that the protocols call: the routing table and the infer client behind one interface. */
import { utf8 } from '#mesh/bytes.ts';
import type { RegistryQuestion, RoutedModel } from '#mesh/control.ts';
import { readRegistryAnswer } from '#mesh/control-reader.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { ListedSpec, Signature } from '#mesh/signature.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import type { GatewayCore, ResolvedServable } from './core.ts';
import type { InferClient } from './infer-client.ts';
import type { RoutingTable } from './routing-table.ts';

/** The parts of a gateway that the core joins. The caller owns and disposes them. */
export interface GatewayCoreDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly routing: RoutingTable;
  readonly client: InferClient;
  /** True once the gateway drains. */
  readonly draining: () => boolean;
}

/** The routable versions of one model. Made once per change of the model, so that the same version is always the same object. */
interface ModelIndex {
  readonly latest: ResolvedServable | undefined;
  readonly byVersion: ReadonlyMap<number, ResolvedServable>;
}

/** For questions that name no time of their own. */
const QUESTION_TIMEOUT_MS = 10_000;
/** What a question with a bound of its own gets on top, so that the registry's answer comes before our own timeout. */
const ANSWER_MARGIN_MS = 1000;

/** Makes the core. It keeps nothing but indexes of the routing table. */
export function createGatewayCore({ transport, subjects, routing, client, draining }: GatewayCoreDeps): GatewayCore {
  const indexes = new WeakMap<RoutedModel, ModelIndex>();

  function indexOf(name: string): ModelIndex | undefined {
    const model = routing.model(name);
    if (model === undefined) return undefined;
    let index = indexes.get(model);
    if (index === undefined) {
      index = indexModel(model);
      indexes.set(model, index);
    }
    return index;
  }

  /** Before the first table nothing is known, not even that a model does not exist. */
  function needTable(): void {
    if (!routing.known) throw new ServeError('UNAVAILABLE', 'the gateway has no routing table yet: no registry has answered');
  }

  function specific(name: string, version: number): ResolvedServable {
    const found = indexOf(name)?.byVersion.get(version);
    if (found === undefined) throw new ServeError('NOT_FOUND', `Servable not found for request: Specific(${name}, ${version})`);
    return found;
  }

  async function ask(question: RegistryQuestion, timeoutMs: number): Promise<{ readonly configText: string; readonly revision: number }> {
    let bytes: Uint8Array;
    try {
      bytes = await transport.request(subjects.registry, utf8(JSON.stringify(question)), { timeoutMs });
    } catch (caught) {
      const error = toServeError(caught);
      if (error.code !== 'UNAVAILABLE') throw error;
      throw new ServeError('UNAVAILABLE', 'no registry is leading; the running configuration cannot be read or changed now', {
        cause: error,
      });
    }
    const answer = readRegistryAnswer(bytes);
    if (answer.type === 'error') throw new ServeError(answer.code, answer.message);
    if (answer.type !== 'config') throw new ServeError('INTERNAL', `the registry answered a ${question.type} question with ${answer.type}`);
    return { configText: answer.configText, revision: answer.revision };
  }

  return {
    resolve(model, choice) {
      needTable();
      if (choice.type === 'specific') return specific(model, choice.version);
      if (choice.type === 'label') {
        const labels = routing.model(model)?.labels;
        const version = labels !== undefined && Object.hasOwn(labels, choice.label) ? labels[choice.label] : undefined;
        if (version === undefined) throw new ServeError('INVALID_ARGUMENT', `Unrecognized servable version label: ${choice.label}`);
        return specific(model, version);
      }
      const latest = indexOf(model)?.latest;
      if (latest === undefined) throw new ServeError('NOT_FOUND', `Servable not found for request: Latest(${model})`);
      return latest;
    },
    infer(request) {
      const { listedOnly } = request.signature;
      if (listedOnly !== undefined) throw cannotRun(request.signatureName, listedOnly);
      return client.infer(request);
    },
    status(model, version) {
      needTable();
      const all = (routing.model(model)?.versions ?? []).map((routed) => ({
        version: routed.version,
        state: routed.state,
        status: routed.status,
      }));
      const wanted = version === undefined ? all : all.filter((one) => one.version === version);
      if (wanted.length > 0) return wanted;
      throw new ServeError(
        'NOT_FOUND',
        version === undefined ? `Could not find any versions of model ${model}` : `Could not find version ${version} of model ${model}`,
      );
    },
    models: () => routing.names(),
    labels: (model) => routing.model(model)?.labels ?? {},
    modelReady: (model) => indexOf(model)?.latest !== undefined,
    ready: () => routing.known && !draining() && client.hasBatcher,
    onRoutingChange: (listener) => routing.onChange(listener),
    async reload(configText, timeoutMs) {
      await ask({ type: 'reload', configText, timeoutMs }, timeoutMs + ANSWER_MARGIN_MS);
    },
    readConfig: () => ask({ type: 'read-config' }, QUESTION_TIMEOUT_MS),
    putModel: (modelText, expectedRevision, timeoutMs) =>
      ask({ type: 'put-model', modelText, expectedRevision, timeoutMs }, timeoutMs + ANSWER_MARGIN_MS),
    removeModel: (name, expectedRevision) => ask({ type: 'remove-model', name, expectedRevision }, QUESTION_TIMEOUT_MS),
  };
}

function cannotRun(signatureName: string, { inputs, outputs }: NonNullable<Signature['listedOnly']>): ServeError {
  const what = [...listed('input', inputs), ...listed('output', outputs)].join(', ');
  return new ServeError('INVALID_ARGUMENT', `signature ${signatureName} is listed in the metadata and cannot be run: ${what}`);
}

function listed(kind: string, specs: Readonly<Record<string, ListedSpec>>): readonly string[] {
  return Object.entries(specs).map(([alias, { dtype, sparse }]) => `${kind} ${alias} is ${sparse ? 'a sparse tensor' : dtype.protoName}`);
}

function indexModel(model: RoutedModel): ModelIndex {
  const byVersion = new Map<number, ResolvedServable>();
  let latest: ResolvedServable | undefined;
  for (const { version, routable, signatures, batching, stateful } of model.versions) {
    if (!routable || signatures === null) continue;
    const servable: ResolvedServable = { id: { name: model.name, version }, signatures, batching, stateful };
    byVersion.set(version, servable);
    if (latest === undefined || version > latest.id.version) latest = servable;
  }
  return { latest, byVersion };
}
