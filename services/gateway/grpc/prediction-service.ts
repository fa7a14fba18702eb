/** `tensorflow.serving.PredictionService`. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE } from '#mesh/signature.ts';
import { type Classifications, decodeExamplesRequest, encodeClassificationResponse } from '#proto/classification.ts';
import { decodeGetModelMetadataRequest, encodeGetModelMetadataResponse } from '#proto/get-model-metadata.ts';
import { decodeMultiInferenceRequest, encodeMultiInferenceResponse } from '#proto/inference.ts';
import type { ModelSpec } from '#proto/model-spec.ts';
import { encodeRegressionResponse } from '#proto/regression.ts';
import { chooseNamedServable, chooseServable } from '../choose-servable.ts';
import type { GatewayCore, ResolvedServable } from '../core.ts';
import type { Classification, ExamplesApi, ExamplesRequest, PendingExamples } from '../examples-api.ts';
import type { GrpcService } from './port.ts';
import { createPredictHandler } from './predict-handler.ts';
import { byPromise, type createUnary, type PendingReply, type UnaryCall, uncancellable } from './unary.ts';

/** What runs the requests, the wrapper that makes a handler a gRPC method, and the flags that change checks and encodings. */
export interface PredictionServiceDeps {
  readonly core: GatewayCore;
  readonly examples: ExamplesApi;
  readonly unary: ReturnType<typeof createUnary>;
  readonly settings: { readonly enableSignatureMethodNameCheck: boolean; readonly enableSerializationAsTensorContent: boolean };
}

const NAME = 'tensorflow.serving.PredictionService';

/** Makes the service: Predict, Classify, Regress, MultiInference and GetModelMetadata, with TensorFlow Serving's checks and texts. */
export function createPredictionService({ core, examples, unary, settings }: PredictionServiceDeps): GrpcService {
  const predict = createPredictHandler({
    core,
    methodNameCheck: settings.enableSignatureMethodNameCheck,
    tensorContent: settings.enableSerializationAsTensorContent,
  });

  function exampleRequest(call: UnaryCall, spec: ModelSpec, given: readonly Uint8Array[]): ExamplesRequest {
    call.model = spec.name;
    const servable = chooseServable(core, spec);
    const { deadlineMs, traceparent } = call;
    return { servable, signatureName: spec.signatureName, examples: given, deadlineMs, traceparent };
  }

  return {
    name: NAME,
    methods: {
      Predict: unary('Predict', predict),
      Classify: unary('Classify', (call) => {
        const { spec, examples: given } = decodeExamplesRequest(call.request);
        const request = exampleRequest(call, spec, given);
        return replyWith(examples.classify(request), request.servable, (results) =>
          encodeClassificationResponse(answered(spec, request.servable), labelled(results)),
        );
      }),
      Regress: unary('Regress', (call) => {
        const { spec, examples: given } = decodeExamplesRequest(call.request);
        const request = exampleRequest(call, spec, given);
        return replyWith(examples.regress(request), request.servable, (values) =>
          encodeRegressionResponse(answered(spec, request.servable), values),
        );
      }),
      MultiInference: unary(null, (call) => multiInference(core, examples, call)),
      GetModelMetadata: unary(null, (call) => {
        const { spec, metadataFields } = decodeGetModelMetadataRequest(call.request);
        if (!spec.present) throw new ServeError('INVALID_ARGUMENT', 'Missing ModelSpec');
        checkMetadataFields(metadataFields);
        const servable = chooseServable(core, spec);
        const { name, version } = servable.id;
        const message = encodeGetModelMetadataResponse({ name, version }, servable.signatures);
        return uncancellable(Promise.resolve({ message, servable }));
      }),
    },
  };
}

function multiInference(core: GatewayCore, examples: ExamplesApi, call: UnaryCall): PendingReply {
  const { tasks, examples: given } = decodeMultiInferenceRequest(call.request);
  const [first] = tasks;
  if (first === undefined) throw new ServeError('INVALID_ARGUMENT', 'ModelSpec has no name specified.');
  call.model = first.spec.name;
  const servable = chooseNamedServable(core, first.spec);
  for (const { spec } of tasks) {
    if (spec.name === '') throw new ServeError('INVALID_ARGUMENT', 'Found ModelSpec with an empty model name.');
    if (spec.name !== first.spec.name) {
      throw new ServeError('INVALID_ARGUMENT', 'All ModelSpecs in a MultiInferenceRequest must access the same model name.');
    }
  }
  const pending = examples.multiInference({
    servable,
    tasks: tasks.map(({ spec, methodName }) => ({ signatureName: spec.signatureName, methodName })),
    examples: given,
    deadlineMs: call.deadlineMs,
    traceparent: call.traceparent,
  });
  return replyWith(pending, servable, (results) =>
    encodeMultiInferenceResponse(
      results.map((result) => {
        const spec = { name: first.spec.name, version: servable.id.version, signatureName: result.signatureName };
        return result.type === 'classify'
          ? { type: 'classification', spec, rows: labelled(result.classifications) }
          : { type: 'regression', spec, values: result.values };
      }),
    ),
  );
}

function checkMetadataFields(fields: readonly string[]): void {
  if (fields.length === 0) throw new ServeError('INVALID_ARGUMENT', 'GetModelMetadataRequest must specify at least one metadata_field');
  for (const field of fields) {
    if (field !== 'signature_def') throw new ServeError('INVALID_ARGUMENT', `Metadata field ${field} is not supported`);
  }
}

/** The spec of an answer: the name as asked for, the version and signature that were used. */
function answered(spec: ModelSpec, servable: ResolvedServable) {
  const signatureName = spec.signatureName === '' ? DEFAULT_SIGNATURE : spec.signatureName;
  return { name: spec.name, version: servable.id.version, signatureName };
}

/** Labels as protobuf wants them: text. */
function labelled(results: readonly (readonly Classification[])[]): Classifications {
  return results.map((classes) => classes.map(({ label, score }) => ({ label: fromUtf8(label), score })));
}

function replyWith<Result>(
  pending: PendingExamples<Result>,
  servable: ResolvedServable,
  encode: (result: Result) => Uint8Array,
): PendingReply {
  return byPromise(
    pending.answer.then((result) => ({ message: encode(result), servable })),
    () => pending.cancel(),
  );
}
