import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature } from '#mesh/signature.ts';
import type { GatewayCore, ResolvedServable, VersionChoice } from './core.ts';

/** What a gRPC request's ModelSpec says of model and version. */
export interface SpecifiedModel {
  readonly present: boolean;
  readonly name: string;
  readonly version: number | null;
  readonly label: string | null;
}

/** Finds the servable of a ModelSpec. Throws INVALID_ARGUMENT without spec or name, and what `GatewayCore.resolve` throws. */
export function chooseServable(core: GatewayCore, spec: SpecifiedModel): ResolvedServable {
  if (!spec.present) throw new ServeError('INVALID_ARGUMENT', 'Missing ModelSpec');
  return chooseNamedServable(core, spec);
}

/** The same for RPCs that take an absent spec for an empty one. */
export function chooseNamedServable(core: GatewayCore, { name, version, label }: SpecifiedModel): ResolvedServable {
  if (name === '') throw new ServeError('INVALID_ARGUMENT', 'ModelSpec has no name specified.');
  return core.resolve(name, choiceOf(version, label));
}

/** Finds a Predict request's signature, in TensorFlow Serving's words. Throws FAILED_PRECONDITION, or INTERNAL for another method. */
export function predictSignature(
  { signatures }: ResolvedServable,
  given: string,
  methodNameCheck: boolean,
): { readonly signatureName: string; readonly signature: Signature } {
  const signatureName = given === '' ? DEFAULT_SIGNATURE : given;
  const signature = Object.hasOwn(signatures, signatureName) ? signatures[signatureName] : undefined;
  if (signature === undefined) throw new ServeError('FAILED_PRECONDITION', `Serving signature key "${signatureName}" not found.`);
  if (methodNameCheck && !PREDICT_METHODS.includes(signature.method)) {
    throw new ServeError(
      'INTERNAL',
      `Expected prediction signature method_name to be one of {${PREDICT_METHODS.join(', ')}}. Was: ${signature.method}`,
    );
  }
  return { signatureName, signature };
}

/** Predict runs all three methods: a classifier's outputs are tensors too. */
const PREDICT_METHODS: readonly string[] = ['tensorflow/serving/predict', 'tensorflow/serving/classify', 'tensorflow/serving/regress'];

function choiceOf(version: number | null, label: string | null): VersionChoice {
  if (version !== null) return { type: 'specific', version };
  if (label !== null) return { type: 'label', label };
  return { type: 'latest' };
}
