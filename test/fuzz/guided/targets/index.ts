/** All targets by name. Their code is loaded when one is asked for, so that the counters of coverage are there first. */
import type { FuzzTarget } from '../target.ts';

const FILES: Readonly<Record<string, () => Promise<{ readonly TARGETS: readonly FuzzTarget[] }>>> = {
  'predict-json': () => import('./rest-bodies.ts'),
  'examples-json': () => import('./rest-bodies.ts'),
  'raw-tensors': () => import('./rest-bodies.ts'),
  base64: () => import('./rest-bodies.ts'),
  'plain-head': () => import('./http1-heads.ts'),
  target: () => import('./rest-paths.ts'),
  labels: () => import('./rest-paths.ts'),
  'predict-request': () => import('./grpc-messages.ts'),
  'tensor-proto': () => import('./grpc-messages.ts'),
  'examples-request': () => import('./grpc-messages.ts'),
  'control-requests': () => import('./grpc-messages.ts'),
  hpack: () => import('./http2.ts'),
  http2: () => import('./http2.ts'),
  reflection: () => import('./reflection.ts'),
  'tf-example': () => import('./examples.ts'),
  'parse-example': () => import('./examples.ts'),
  'model-config': () => import('./text-protos.ts'),
  'batching-parameters': () => import('./text-protos.ts'),
  'other-text-protos': () => import('./text-protos.ts'),
  'saved-model-text': () => import('./saved-model.ts'),
  'saved-model-proto': () => import('./saved-model.ts'),
  'sorted-table': () => import('./saved-model.ts'),
  snappy: () => import('./saved-model.ts'),
  'bundle-records': () => import('./saved-model.ts'),
  'warmup-records': () => import('./saved-model.ts'),
  frames: () => import('./mesh-messages.ts'),
  'control-documents': () => import('./mesh-messages.ts'),
  onnx: () => import('./onnx.ts'),
  'onnx-guards': () => import('./onnx.ts'),
  'signatures-file': () => import('./onnx.ts'),
  png: () => import('./images.ts'),
  jpeg: () => import('./images.ts'),
  gif: () => import('./images.ts'),
  bmp: () => import('./images.ts'),
  regex: () => import('./regex.ts'),
};

/** The names, in the order in which they are fuzzed. */
export const TARGET_NAMES: readonly string[] = Object.keys(FILES);

/** Loads a target. Throws for a name that there is not. */
export async function loadTarget(name: string): Promise<FuzzTarget> {
  const target = (await FILES[name]?.())?.TARGETS.find((one) => one.name === name);
  if (target === undefined) throw new Error(`there is no target ${name}`);
  return target;
}
