/** Errors of the file system. */
import { ServeError } from '#mesh/errors.ts';

/** True for the error of a file or folder that is not there. */
export function isAbsence(caught: unknown): boolean {
  // Not by instanceof: an error of Node's own may come from another realm.
  return typeof caught === 'object' && caught !== null && 'code' in caught && (caught.code === 'ENOENT' || caught.code === 'ENOTDIR');
}

/** The error of a file that is there but cannot be read. */
export function unreadable(file: string, caught: unknown): ServeError {
  return new ServeError('INTERNAL', `${file} cannot be read: ${caught}`, { cause: caught });
}
