/** TensorFlow Serving's REST calls, from a parsed target and a whole body to an answer. */
import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature } from '#mesh/signature.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import type { ResolvedServable } from '../core.ts';
import { metadataDocument, statusDocument } from './documents.ts';
import { decodeExamples } from './examples-json.ts';
import type { RequestHeaders } from './exchange.ts';
import { encodePredict } from './predict-answer.ts';
import { decodePredict } from './predict-json.ts';
import { decodeRawPredict, encodeRawOutputs, TENSORS_HEADER } from './raw-tensors.ts';
import { jsonReply, type Reply } from './reply.ts';
import { encodeClassifications, encodeRegressions } from './results-json.ts';
import type { RestServerDeps } from './server.ts';
import type { Target } from './target.ts';

/** A target that asks a model for something. */
export type InferenceTarget = Extract<Target, { type: 'inference' }>;
type DocumentTarget = Extract<Target, { type: 'status' | 'metadata' }>;

/** An inference under way. */
export interface PendingReply {
  /** The client has gone: drops the request wherever it is, which then ends with CANCELLED. */
  cancel(): void;
}

/** Hears what became of an inference, once: a reply, or without one what was thrown. A callback and not a promise: one is made for every request. */
export type OnReply = (reply: Reply | undefined, caught: unknown) => void;

/** What the server does with a target. */
export interface ModelApi {
  /** Starts an inference. May throw ServeError instead of returning; else calls `done`, perhaps before it returns. */
  infer(target: InferenceTarget, body: Buffer, headers: RequestHeaders, done: OnReply): PendingReply;
  /** Status or metadata of a model. Throws ServeError. */
  document(target: DocumentTarget): Reply;
}

const RAW_TYPE = 'application/octet-stream';

/** Makes the calls over a core; does no I/O of its own. */
export function createModelApi(deps: Pick<RestServerDeps, 'core' | 'clock' | 'settings' | 'examples' | 'validateInputs'>): ModelApi {
  const { core, clock, settings, examples, validateInputs } = deps;
  const versionHeaders = new WeakMap<ResolvedServable, Readonly<Record<string, string>>>();
  const outputNames = new WeakMap<Signature, readonly string[]>();

  /** All outputs: JSON cannot ask for some of them. */
  function outputsOf(signature: Signature): readonly string[] {
    let names = outputNames.get(signature);
    if (names === undefined) {
      names = Object.keys(signature.outputs);
      outputNames.set(signature, names);
    }
    return names;
  }

  /** Says which version answered; one object for each, because every answer carries it. */
  function versionHeader(servable: ResolvedServable): Readonly<Record<string, string>> {
    let header = versionHeaders.get(servable);
    if (header === undefined) {
      header = { 'x-headrace-model-version': String(servable.id.version) };
      versionHeaders.set(servable, header);
    }
    return header;
  }

  function resolve({ model, version }: InferenceTarget | DocumentTarget): ResolvedServable {
    if (version.type === 'specific' && !Number.isSafeInteger(version.version)) {
      throw new ServeError('NOT_FOUND', `Servable not found for request: Specific(${model}, ${version.text})`);
    }
    return core.resolve(model, version);
  }

  function predict(target: InferenceTarget, body: Buffer, headers: RequestHeaders, done: OnReply): PendingReply {
    let servable: ResolvedServable | undefined;
    const signatureFor = (name: string): Signature => {
      servable ??= resolve(target);
      const key = name === '' ? DEFAULT_SIGNATURE : name;
      const signature = Object.hasOwn(servable.signatures, key) ? servable.signatures[key] : undefined;
      if (signature === undefined) throw new ServeError('INVALID_ARGUMENT', `Serving signature name: "${key}" not found in signature def`);
      return signature;
    };
    const { signatureName, signature, inputs, format } = decode(headers, body, signatureFor);
    if (servable === undefined) throw new Error('a body was decoded without a signature (this is a bug)');
    const complete = validateInputs(signature, inputs);
    const pending = core.infer({
      servable,
      signatureName,
      signature,
      inputs: complete,
      outputs: outputsOf(signature),
      deadlineMs: clock.now() + settings.timeoutMs,
      traceparent: traceparentOf(headers),
    });
    const version = versionHeader(servable);
    const wantsRaw = typeof headers.accept === 'string' && headers.accept.includes(RAW_TYPE);
    pending.whenSettled(
      ({ outputs }) => {
        let reply: Reply | undefined;
        let problem: unknown;
        try {
          reply = wantsRaw ? rawReply(outputs, version) : jsonReply(200, encodePredict(outputs, format), version);
        } catch (caught) {
          problem = caught;
        }
        done(reply, problem);
      },
      (error) => done(undefined, error),
    );
    return pending;
  }

  function classifyOrRegress(target: InferenceTarget, body: Buffer, headers: RequestHeaders, done: OnReply): PendingReply {
    const decoded = decodeExamples(body);
    const servable = resolve(target);
    const call = {
      servable,
      signatureName: decoded.signatureName,
      examples: decoded.examples,
      deadlineMs: clock.now() + settings.timeoutMs,
      traceparent: traceparentOf(headers),
    };
    const version = versionHeader(servable);
    const failed = (error: unknown) => done(undefined, error);
    if (target.method === 'classify') {
      const pending = examples.classify(call);
      pending.answer
        .then((results) => jsonReply(200, encodeClassifications(results), version))
        .then((reply) => done(reply, undefined), failed);
      return pending;
    }
    const pending = examples.regress(call);
    pending.answer.then((values) => jsonReply(200, encodeRegressions(values), version)).then((reply) => done(reply, undefined), failed);
    return pending;
  }

  return {
    infer: (target, body, headers, done) =>
      target.method === 'predict' ? predict(target, body, headers, done) : classifyOrRegress(target, body, headers, done),
    document(target) {
      const { model, version } = target;
      if (model === '') throw new ServeError('INVALID_ARGUMENT', 'Missing model name in request.');
      if (target.type === 'metadata') return jsonReply(200, metadataDocument(resolve(target)));
      if (version.type !== 'specific') return jsonReply(200, statusDocument(core.status(model, undefined)));
      if (!Number.isSafeInteger(version.version)) {
        throw new ServeError('NOT_FOUND', `Could not find version ${version.text} of model ${model}`);
      }
      return jsonReply(200, statusDocument(core.status(model, version.version)));
    },
  };
}

interface Decoded {
  readonly signatureName: string;
  readonly signature: Signature;
  readonly inputs: NamedTensors;
  readonly format: 'row' | 'columnar';
}

/** A body of JSON, or raw bytes when both headers say so. */
function decode(headers: RequestHeaders, body: Buffer, signatureFor: (name: string) => Signature): Decoded {
  const header = headers[TENSORS_HEADER];
  const contentType = headers['content-type'];
  if (typeof header !== 'string' || typeof contentType !== 'string' || !contentType.startsWith(RAW_TYPE))
    return decodePredict(body, signatureFor);
  const { signatureName, inputs } = decodeRawPredict(header, body);
  return {
    signatureName: signatureName === '' ? DEFAULT_SIGNATURE : signatureName,
    signature: signatureFor(signatureName),
    inputs,
    format: 'columnar',
  };
}

function rawReply(outputs: NamedTensors, version: Readonly<Record<string, string>>): Reply {
  const { body, header } = encodeRawOutputs(outputs);
  return { status: 200, contentType: RAW_TYPE, body, headers: { ...version, [TENSORS_HEADER]: header } };
}

function traceparentOf({ traceparent }: RequestHeaders): string {
  return typeof traceparent === 'string' ? traceparent : '';
}
