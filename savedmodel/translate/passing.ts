/** Ops that hand on what they are given, constants, and ops that compute nothing. */
import { tensorAttr } from './attributes.ts';
import type { Translator } from './translator.ts';

const first: Translator = (_node, _inputs, context) => [context.input(0)];

const constant: Translator = (node, _inputs, context) => {
  const tensor = tensorAttr(node, 'value');
  if (tensor.dtype === 'string' || tensor.dtype.startsWith('complex')) throw context.unsupported(`${tensor.dtype} data is not supported`);
  return [context.constant(tensor)];
};

/** A shape that the model promises, so that it is known from here on. */
const ensureShape: Translator = (node, _inputs, context) => {
  const shape = node.attrs.get('shape');
  return [shape?.type === 'shape' ? context.refine(context.input(0), { shape: shape.value }) : context.input(0)];
};

/** Translators of this family by op. A resource that is read stands for the constant bound to it. */
export const PASSING: Readonly<Record<string, Translator>> = {
  Const: constant,
  Identity: first,
  IdentityN: (_node, inputs) => inputs,
  Snapshot: first,
  StopGradient: first,
  PreventGradient: first,
  CheckNumerics: first,
  CheckNumericsV2: first,
  DebugIdentity: first,
  Print: first,
  DeepCopy: first,
  OptimizationBarrier: (_node, inputs) => inputs,
  PlaceholderWithDefault: first,
  EnsureShape: ensureShape,
  ReadVariableOp: first,
  VariableShape: (_node, _inputs, context) => [context.castTo(context.shapeOf(context.input(0)), 'int32')],
  NoOp: () => [],
  ControlTrigger: () => [],
};
