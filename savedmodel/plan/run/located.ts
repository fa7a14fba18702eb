/** Errors of steps, with the place that TensorFlow's clients see. */
import { ServeError, toServeError } from '#mesh/errors.ts';

/** A kernel's error with TensorFlow's location after it: `\n\t [[PLACE]]`. What is no ServeError is a bug of the kernel and names the op. */
export function located(caught: unknown, place: string, op: string): ServeError {
  if (!(caught instanceof ServeError)) {
    const { message } = toServeError(caught);
    return new ServeError('INTERNAL', `${op} failed: ${message}${after(place)}`, { cause: caught });
  }
  if (caught.message.includes('[[{{')) return caught;
  return new ServeError(caught.code, caught.message + after(place), { cause: caught });
}

/** The place of a node of the main graph. */
export function nodePlace(node: string): string {
  return `{{node ${node}}}`;
}

function after(place: string): string {
  return `\n\t [[${place}]]`;
}
