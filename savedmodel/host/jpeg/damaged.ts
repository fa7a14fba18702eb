import { ServeError } from '#mesh/errors.ts';

/** The error of every JPEG that cannot be read: TensorFlow's words, with what is wrong as the cause. */
export function damaged(why: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', 'jpeg::Uncompress failed. Invalid JPEG data or crop window.', {
    cause: new Error(`the JPEG has ${why}`),
  });
}
