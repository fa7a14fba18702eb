/** Models that compute next to nothing on large tensors: the cost is in carrying them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServedModel } from '../servers.ts';
import { GraphBuilder } from './graph.ts';

/** Floats of one picture of 224 x 224 x 3. */
export const PICTURE_FLOATS = 224 * 224 * 3;

/** Writes both models into a folder: `picture` gives the mean colour of pictures, `echo` gives back rows of floats. */
export function putLargeModels(folder: string): readonly ServedModel[] {
  const picture = new GraphBuilder(1);
  const mean = picture.node('ReduceMean', ['x'], { axes: [1, 2], keepdims: 0 });
  const echo = new GraphBuilder(1);
  const files = {
    picture: picture.finish(
      'picture',
      [{ name: 'x', dtype: 'float', shape: ['N', 224, 224, 3] }],
      { name: 'y', dtype: 'float', shape: ['N', 3] },
      mean,
    ),
    echo: echo.finish(
      'echo',
      [{ name: 'x', dtype: 'float', shape: ['N', 'M'] }],
      { name: 'y', dtype: 'float', shape: ['N', 'M'] },
      echo.node('Identity', ['x']),
    ),
  };
  return Object.entries(files).map(([name, bytes]): ServedModel => {
    const basePath = join(folder, name);
    mkdirSync(join(basePath, '1'), { recursive: true });
    writeFileSync(join(basePath, '1', 'model.onnx'), bytes);
    return { name, basePath, platform: 'onnx' };
  });
}
