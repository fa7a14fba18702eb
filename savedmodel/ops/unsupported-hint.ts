import { createOpDefs } from '../op-defs/index.ts';

/** What to say after "op X … is not supported", beginning with a separator; empty for an op of TensorFlow of which there is nothing more to say. */
export function unsupportedHint(op: string): string {
  if (op.startsWith('SimpleML')) return ': models of TensorFlow Decision Forests cannot be served';
  if (createOpDefs().names.has(op)) return '';
  return '; --op_library names modules that bring ops along (see docs/custom-op.md)';
}
