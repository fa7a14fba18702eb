/** Errors of files that are not what they should be: each names the file, the offset and the cause. */
import { ServeError } from '#mesh/errors.ts';

/** The DATA_LOSS of a damaged file. `offset` is in bytes from its start. */
export function damaged(file: string, offset: number, what: string, cause?: unknown): ServeError {
  return new ServeError('DATA_LOSS', `${file} is damaged at byte ${offset}: ${what}`, cause === undefined ? undefined : { cause });
}

/**
 * Runs a parser over bytes that start at `offset` of a file: what it finds malformed (INVALID_ARGUMENT) becomes DATA_LOSS that names the
 * file. Places in the parser's own words count from `offset`.
 */
export function parsePart<T>(file: string, offset: number, parse: () => T): T {
  try {
    return parse();
  } catch (caught) {
    if (!(caught instanceof ServeError) || caught.code !== 'INVALID_ARGUMENT') throw caught;
    const where = offset === 0 ? '' : ` in the part from byte ${offset} on`;
    throw new ServeError('DATA_LOSS', `${file} is damaged${where}: ${caught.message}`, { cause: caught });
  }
}
