/** The complaints of RapidJSON 1.1, in its words. */
import { ServeError } from '#mesh/errors.ts';

const PROBLEMS = {
  empty: 'The document is empty.',
  value: 'Invalid value.',
  name: 'Missing a name for object member.',
  colon: 'Missing a colon after a name of object member.',
  member: "Missing a comma or '}' after an object member.",
  element: "Missing a comma or ']' after an array element.",
  hex: 'Incorrect hex digit after \\u escape in string.',
  surrogate: 'The surrogate pair in string is invalid.',
  escape: 'Invalid escape character in string.',
  quote: 'Missing a closing quotation mark in string.',
  tooBig: 'Number too big to be stored in double.',
  fraction: 'Miss fraction part in number.',
  exponent: 'Miss exponent in number.',
} as const;

/** What can be wrong with JSON. */
export type JsonProblem = keyof typeof PROBLEMS;

/** Throws INVALID_ARGUMENT with RapidJSON's text for the problem. */
export function fail(problem: JsonProblem, offset: number): never {
  throw new ServeError('INVALID_ARGUMENT', `JSON Parse error: ${PROBLEMS[problem]} at offset: ${offset}`);
}
