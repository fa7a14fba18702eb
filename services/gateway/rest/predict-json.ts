/** The body of a Predict call over REST. */
import type { Signature } from '#mesh/signature.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import { scanPredict } from './predict-scan.ts';
import { readPredict } from './predict-tape.ts';

/** What a Predict body says. */
export interface DecodedPredict {
  /** Never empty. */
  readonly signatureName: string;
  readonly signature: Signature;
  /** One tensor for each input of the signature (row-major; in row format dimension 0 counts the instances). */
  readonly inputs: NamedTensors;
  /** How the client sent its tensors, and wants them back: `instances` or `inputs`. */
  readonly format: 'row' | 'columnar';
}

/**
 * Decodes `{"signature_name": …, "instances": […]}` or `{…, "inputs": …}`. Throws ServeError with TensorFlow Serving's texts, in its order of
 * checks: JSON, signature_name, whatever `signatureFor` throws (it is given the name as the client wrote it, empty for none, may be called
 * more than once and must give the same answer), then the tensors.
 */
export function decodePredict(body: Uint8Array, signatureFor: (name: string) => Signature): DecodedPredict {
  const buf = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return scanPredict(buf, signatureFor) ?? readPredict(buf, signatureFor);
}
