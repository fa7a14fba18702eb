/** Modules of custom ops as files: which there are, and what their content is. Nothing of them is run here. */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ServeError } from '#mesh/errors.ts';

/** A module of ops, at one state of its content. */
export interface OpModule {
  /** Absolute. */
  readonly path: string;
  /** SHA-256 in hex over the module and the files that it names relative to itself, and those that these name. */
  readonly digest: string;
}

/** Where a version folder may keep modules of its own, when that is allowed. */
export const MODEL_OP_FOLDERS: readonly string[] = ['ops', 'assets.extra/ops'];

const MODULE_FILE = /^(?!\.)(?!.*\.(d|test|spec)\.[cm]?ts$).*\.(m?ts|m?js)$/;
/** Files that one module may be made of. */
const MAX_FILES = 1000;
/** Beyond this a file is not looked into for the names of others. */
const MAX_SOURCE_BYTES = 4 * 1024 * 1024;

/**
 * The modules at some paths, in order: a file is one, of a folder every `.ts`, `.mts`, `.js` and `.mjs` file directly in it, by name. Rejects with ServeError
 * naming the path: NOT_FOUND when nothing is there, INVALID_ARGUMENT for a file of another kind.
 */
export async function findOpModules(paths: readonly string[]): Promise<readonly OpModule[]> {
  const found: OpModule[] = [];
  for (const given of paths) {
    const path = resolve(given);
    const facts = await stat(path).catch((cause) => {
      throw new ServeError('NOT_FOUND', `the op library ${given} is not there`, { cause });
    });
    if (facts.isDirectory()) {
      const names = (await readdir(path)).filter((name) => MODULE_FILE.test(name)).sort();
      for (const name of names) found.push(await moduleAt(join(path, name)));
    } else if (MODULE_FILE.test(basename(path))) found.push(await moduleAt(path));
    else throw new ServeError('INVALID_ARGUMENT', `the op library ${given} is neither a folder nor a .ts, .mts, .js or .mjs file`);
  }
  return found;
}

/** The modules that a version folder brings along. */
export async function findModelOpModules(versionFolder: string): Promise<readonly OpModule[]> {
  const folders: string[] = [];
  for (const inside of MODEL_OP_FOLDERS) {
    const folder = join(versionFolder, inside);
    const facts = await stat(folder).catch(() => null);
    if (facts?.isDirectory()) folders.push(folder);
  }
  return findOpModules(folders);
}

/** One digest for all modules; empty for none. Equal for equal contents in the same order, wherever they lie. */
export function digestOfModules(modules: readonly OpModule[]): string {
  if (modules.length === 0) return '';
  return createHash('sha256')
    .update(JSON.stringify(modules.map(({ digest }) => digest)))
    .digest('hex');
}

/** The module's URL, other for other content: what a thread imports. */
export function moduleUrl({ path, digest }: OpModule): string {
  return `${pathToFileURL(path).href}?content=${digest.slice(0, 16)}`;
}

async function moduleAt(path: string): Promise<OpModule> {
  const hash = createHash('sha256');
  const seen = new Set<string>();
  const pending = [path];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    if (seen.size > MAX_FILES) throw new ServeError('INVALID_ARGUMENT', `${path} refers to more than ${MAX_FILES} files`);
    const content = await read(file, path);
    // The names are those that other files use, so that the digest is the same wherever the module lies.
    hash.update(`${basename(file)}\0${content.byteLength}\n`).update(content);
    if (content.byteLength <= MAX_SOURCE_BYTES && MODULE_FILE.test(basename(file))) {
      for (const other of await namedFiles(content.toString('utf8'), dirname(file))) pending.push(other);
    }
  }
  return { path, digest: hash.digest('hex') };
}

async function read(file: string, module: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ServeError('FAILED_PRECONDITION', `${module}: ${file === module ? 'it' : file} cannot be read: ${why}`, { cause });
  }
}

/**
 * Files that a source names relative to itself, in imports or as `new URL('./x.wasm', import.meta.url)`: every string that begins with ./ or ../ and leads to a
 * file. In the order in which they are named.
 */
async function namedFiles(source: string, folder: string): Promise<readonly string[]> {
  const files: string[] = [];
  for (const [, specifier = ''] of source.matchAll(/['"`](\.{1,2}\/[^'"`\n?#]+)/g)) {
    const file = resolve(folder, specifier);
    const facts = await stat(file).catch(() => null);
    if (facts?.isFile()) files.push(file);
  }
  return files;
}
