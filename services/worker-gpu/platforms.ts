import { readdir } from 'node:fs/promises';
import { ServeError } from '#mesh/errors.ts';

/** A kind of servable that a worker can host. */
export interface Platform {
  /** What `model_platform` says. */
  readonly name: string;
  /** The URL of the runtime's module: see `runtime.ts`. */
  readonly runtime: string;
  /** True when a version folder with these files is of this kind. */
  readonly recognises: (fileNames: readonly string[]) => boolean;
}

/** The kinds that come with Headrace. */
export const BUILT_IN_PLATFORMS: readonly Platform[] = [
  {
    name: 'onnx',
    runtime: new URL('./runtimes/onnx.ts', import.meta.url).href,
    recognises: (names) => names.some((name) => name === 'signatures.json' || name.endsWith('.onnx') || name.endsWith('.ort')),
  },
];

/**
 * The platform of a version folder: the one asked for when it recognises the folder, else whichever does (`tensorflow` is what TF Serving's
 * configurations say by default, also of a folder that holds something else). Rejects with NOT_FOUND when the folder is not there or is of no kind.
 */
export async function platformOf(folder: string, wanted: string, platforms: readonly Platform[]): Promise<Platform> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw new ServeError('NOT_FOUND', noModel(folder), { cause });
  }
  const fitting = platforms.filter((platform) => platform.recognises(names));
  const found = fitting.find((platform) => platform.name === wanted) ?? fitting[0];
  if (found === undefined) throw new ServeError('NOT_FOUND', noModel(folder));
  return found;
}

/** TF Serving's words, with ours for what else could have been there. */
function noModel(folder: string): string {
  return `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${folder}. Check that the directory exists and that you have the right permissions for accessing it. (No model.onnx is there either.)`;
}
