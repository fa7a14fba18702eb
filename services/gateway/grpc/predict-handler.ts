/** Predict over gRPC: the hot path of this server. */
import { withDefaults } from '#mesh/signature.ts';
import { decodeInputs, decodePredictRequest, encodePredictResponse } from '#proto/predict.ts';
import { chooseServable, predictSignature } from '../choose-servable.ts';
import type { GatewayCore } from '../core.ts';
import { validateDtypes, validateInputNames, validateShapes, wantedOutputs } from '../validate-inputs.ts';
import type { UnaryHandler } from './unary.ts';

/** What runs Predict, and the two flags that change which requests pass and how tensors are written. */
export interface PredictOptions {
  readonly core: GatewayCore;
  /** `--enable_signature_method_name_check`. */
  readonly methodNameCheck: boolean;
  /** `--enable_serialization_as_tensor_content`. */
  readonly tensorContent: boolean;
}

/** Makes the handler. What is checked, and in which order, is TensorFlow Serving's: names, tensors, outputs, dtypes, shapes. */
export function createPredictHandler({ core, methodNameCheck, tensorContent }: PredictOptions): UnaryHandler {
  return (call) => {
    const { spec, inputs: encoded, outputFilter } = decodePredictRequest(call.request);
    call.model = spec.name;
    const servable = chooseServable(core, spec);
    const { signatureName, signature } = predictSignature(servable, spec.signatureName, methodNameCheck);
    validateInputNames(signature, encoded);
    const inputs = withDefaults(signature, decodeInputs(encoded));
    const outputs = wantedOutputs(signature, outputFilter);
    validateDtypes(signature, inputs);
    validateShapes(signature, inputs);
    const { deadlineMs, traceparent } = call;
    const pending = core.infer({ servable, signatureName, signature, inputs, outputs, deadlineMs, traceparent });
    const answered = { name: spec.name, version: servable.id.version, signatureName };
    return {
      whenSettled(onReply, onError) {
        pending.whenSettled((result) => {
          let message: Uint8Array;
          try {
            message = encodePredictResponse(answered, result.outputs, { tensorContent });
          } catch (caught) {
            onError(caught);
            return;
          }
          onReply(message, servable);
        }, onError);
      },
      cancel: () => pending.cancel(),
    };
  };
}
