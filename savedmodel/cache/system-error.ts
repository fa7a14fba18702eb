/**
 * What the operating system says through Node. Told apart by shape and not by class: an error may come from another thread or from another
 * context of this one.
 */

/** A disk, or a user's share of it, has no room left. */
const CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** True for an error that is, or was caused by, a disk without room. */
export function isDiskFull(caught: unknown): boolean {
  for (let error = caught; typeof error === 'object' && error !== null; error = 'cause' in error ? error.cause : null) {
    if (CODES.has(codeOf(error))) return true;
  }
  return false;
}

/** The operating system's word for an error, such as `ENOENT`; undefined for what is no such error. */
export function codeOf(caught: unknown): unknown {
  return typeof caught === 'object' && caught !== null && 'code' in caught ? caught.code : undefined;
}

/** The text of an error. */
export function messageOf(caught: unknown): string {
  return typeof caught === 'object' && caught !== null && 'message' in caught ? String(caught.message) : String(caught);
}
