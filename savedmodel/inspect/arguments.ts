/** The command line of `headrace inspect`. */
import { ServeError } from '#mesh/errors.ts';

/** What was asked for. */
export interface InspectArguments {
  readonly path: string;
  /** The tags of one MetaGraph; absent: all. */
  readonly tags?: readonly string[];
  readonly signature?: string;
  readonly json: boolean;
  /** Modules of custom ops, which are run. */
  readonly opLibrary: readonly string[];
}

/** The text of `--help`. */
export const INSPECT_USAGE = `usage: headrace inspect DIR [--tag_set TAGS] [--signature NAME] [--op_library PATHS] [--json]

Shows what a model offers and how Headrace runs it. DIR is a version's folder (a SavedModel, or ONNX files), or a base path with
numbered versions, of which the newest is shown.

  --tag_set TAGS    only the MetaGraph with these tags, comma-separated: serve,gpu
  --signature NAME  only this signature
  --op_library PATHS  modules of custom ops, comma-separated files and folders; they are run
  --json            for programs

Leaves with 0 when all of it can be served, with 1 when something cannot or DIR cannot be read, with 2 for a wrong command line.
`;

/** Null when help was asked for. Throws INVALID_ARGUMENT that says what is wrong. Values follow a flag as `--flag value` or `--flag=value`. */
export function parseInspectArguments(words: readonly string[]): InspectArguments | null {
  let json = false;
  const paths: string[] = [];
  const values = new Map<string, string>();
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    if (word === '--help' || word === '-h') return null;
    if (word === '--json') json = true;
    else if (!word.startsWith('-')) paths.push(word);
    else {
      const [flag = '', ...rest] = word.split('=');
      if (!VALUED.includes(flag)) throw wrong(`there is no ${flag}`);
      const value = rest.length > 0 ? rest.join('=') : words[++index];
      if (value === undefined || value === '') throw wrong(`${flag} needs a value`);
      values.set(flag, value);
    }
  }
  const path = values.get('--dir') ?? paths[0];
  if (path === undefined) throw wrong('DIR is missing');
  if (paths.length > (values.has('--dir') ? 0 : 1)) throw wrong(`one DIR at a time, not also ${paths.at(-1)}`);
  const signature = values.get('--signature') ?? values.get('--signature_def');
  const tags = values
    .get('--tag_set')
    ?.split(',')
    .map((tag) => tag.trim());
  const opLibrary =
    values
      .get('--op_library')
      ?.split(',')
      .map((one) => one.trim()) ?? [];
  return { path, json, opLibrary, ...(tags === undefined ? {} : { tags }), ...(signature === undefined ? {} : { signature }) };
}

/** `--dir` and `--signature_def` are what TensorFlow's tool calls them. */
const VALUED: readonly string[] = ['--tag_set', '--signature', '--signature_def', '--dir', '--op_library'];

function wrong(what: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', what);
}
