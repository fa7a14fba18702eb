import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { readOnnxHeaderFile } from '#proto/onnx-header.ts';
import type { UnrankedNames } from './onnx-graph.ts';

/**
 * Looks at a model file before onnxruntime does: returns the inputs and outputs that declare no shape, and throws what can be said more clearly
 * here. NOT_FOUND: weights in another file that is not there; INVALID_ARGUMENT: weights outside of the folder; DATA_LOSS: not an ONNX model.
 * `weightsFolder`: where those other files are looked for. An `.ort` file is in onnxruntime's own format and is left to it.
 */
export function inspectModelFile(path: string, weightsFolder = dirname(path)): UnrankedNames {
  if (path.endsWith('.ort')) return new Set();
  const header = readOnnxHeaderFile(path);
  for (const file of header.externalFiles) {
    const weights = join(weightsFolder, file);
    const fromFolder = relative(weightsFolder, weights);
    if (isAbsolute(file) || fromFolder.startsWith('..'))
      throw new ServeError('INVALID_ARGUMENT', `${path}: its weights are in ${file}, outside of its folder`);
    if (!existsSync(weights)) throw new ServeError('NOT_FOUND', `${path}: its weights are in ${file}, which does not exist`);
  }
  return new Set([...header.inputs, ...header.outputs].filter(({ shape }) => shape === null).map(({ name }) => name));
}
