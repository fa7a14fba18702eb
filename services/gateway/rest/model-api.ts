/** TensorFlow Serving's REST calls, from a parsed target and a whole body to an answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature } from '#mesh/signature.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import type { ResolvedServable } from '../core.ts';
import { metadataDocument, statusDocument } from './documents.ts';
import { decodeExamples } from './examples-json.ts';
import { encodePredict } from './predict-answer.ts';
import { decodePredict } from './predict-json.ts';
import { decodeRawPredict, encodeRawOutputs, TENSORS_HEADER } from './raw-tensors.ts';
import { jsonReply, type Reply } from './reply.ts';
import { encodeClassifications, encodeRegressions } from './results-json.ts';
import type { RestServerDeps } from './server.ts';
import type { Target } from './target.ts';

type InferenceTarget = Extract<Target, { type: 'inference' }>;
type DocumentTarget = Extract<Target, { type: 'status' | 'metadata' }>;

/** What the server does with a target. */
export interface ModelApi {
  /** Runs an inference; drops it when the client closes the connection. Rejects with ServeError. */
  infer(target: InferenceTarget, body: Buffer, request: IncomingMessage, response: ServerResponse): Promise<Reply>;
  /** Status or metadata of a model. Throws ServeError. */
  document(target: DocumentTarget): Reply;
}

const RAW_TYPE = 'application/octet-stream';

/** Makes the calls over a core; does no I/O of its own. */
export function createModelApi(deps: Pick<RestServerDeps, 'core' | 'clock' | 'settings' | 'examples' | 'validateInputs'>): ModelApi {
  const { core, clock, settings, examples, validateInputs } = deps;

  function resolve({ model, version }: InferenceTarget | DocumentTarget): ResolvedServable {
    if (version.type === 'specific' && !Number.isSafeInteger(version.version)) {
      throw new ServeError('NOT_FOUND', `Servable not found for request: Specific(${model}, ${version.text})`);
    }
    return core.resolve(model, version);
  }

  /** Waits for an answer, and gives it up when the client goes. */
  async function whileConnected<Result>(
    response: ServerResponse,
    pending: { readonly answer: Promise<Result>; cancel(): void },
  ): Promise<Result> {
    const cancel = () => pending.cancel();
    response.once('close', cancel);
    if (response.destroyed) cancel();
    try {
      return await pending.answer;
    } finally {
      response.off('close', cancel);
    }
  }

  async function predict(target: InferenceTarget, body: Buffer, request: IncomingMessage, response: ServerResponse): Promise<Reply> {
    let servable: ResolvedServable | undefined;
    const signatureFor = (name: string): Signature => {
      servable ??= resolve(target);
      const key = name === '' ? DEFAULT_SIGNATURE : name;
      const signature = Object.hasOwn(servable.signatures, key) ? servable.signatures[key] : undefined;
      if (signature === undefined) throw new ServeError('INVALID_ARGUMENT', `Serving signature name: "${key}" not found in signature def`);
      return signature;
    };
    const { signatureName, signature, inputs, format } = decode(request, body, signatureFor);
    if (servable === undefined) throw new Error('a body was decoded without a signature (this is a bug)');
    validateInputs(signature, inputs);
    const pending = core.infer({
      servable,
      signatureName,
      signature,
      inputs,
      outputs: Object.keys(signature.outputs),
      deadlineMs: clock.now() + settings.timeoutMs,
      traceparent: traceparentOf(request),
    });
    const { outputs } = await whileConnected(response, pending);
    const version = { 'x-headrace-model-version': String(servable.id.version) };
    if (!(request.headers.accept ?? '').includes(RAW_TYPE)) return jsonReply(200, encodePredict(outputs, format), version);
    const raw = encodeRawOutputs(outputs);
    return { status: 200, contentType: RAW_TYPE, body: raw.body, headers: { ...version, [TENSORS_HEADER]: raw.header } };
  }

  async function classifyOrRegress(
    target: InferenceTarget,
    body: Buffer,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<Reply> {
    const decoded = decodeExamples(body);
    const servable = resolve(target);
    const call = {
      servable,
      signatureName: decoded.signatureName,
      examples: decoded.examples,
      deadlineMs: clock.now() + settings.timeoutMs,
      traceparent: traceparentOf(request),
    };
    const encoded =
      target.method === 'classify'
        ? encodeClassifications(await whileConnected(response, examples.classify(call)))
        : encodeRegressions(await whileConnected(response, examples.regress(call)));
    return jsonReply(200, encoded, { 'x-headrace-model-version': String(servable.id.version) });
  }

  return {
    infer: (target, body, request, response) =>
      target.method === 'predict' ? predict(target, body, request, response) : classifyOrRegress(target, body, request, response),
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
function decode(request: IncomingMessage, body: Buffer, signatureFor: (name: string) => Signature): Decoded {
  const header = request.headers[TENSORS_HEADER];
  if (typeof header !== 'string' || !(request.headers['content-type'] ?? '').startsWith(RAW_TYPE)) {
    return decodePredict(body, signatureFor);
  }
  const { signatureName, inputs } = decodeRawPredict(header, body);
  return {
    signatureName: signatureName === '' ? DEFAULT_SIGNATURE : signatureName,
    signature: signatureFor(signatureName),
    inputs,
    format: 'columnar',
  };
}

function traceparentOf(request: IncomingMessage): string {
  const { traceparent } = request.headers;
  return typeof traceparent === 'string' ? traceparent : '';
}
