/** Activations, softmax and losses of them. */
import { floatAttr } from './attributes.ts';
import { elementwise } from './channel-order.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const like = (context: TranslationContext, value: TypedValue, number: number) => context.scalar(number, value.dtype);

const activation =
  (op: string): Translator =>
  (_node, _inputs, context) => [elementwise(context.input(0), (data) => context.compute(op, [data], data), context)];

const relu6: Translator = (_node, _inputs, context) => {
  const x = context.input(0);
  if (x.dtype !== 'float') return [context.binary('Min', context.binary('Max', x, like(context, x, 0)), like(context, x, 6))];
  return [elementwise(x, (data) => context.emit('Clip', [data, like(context, x, 0), like(context, x, 6)], data), context)];
};

const leakyRelu: Translator = (node, _inputs, context) => {
  const x = context.input(0);
  const alpha = { float: floatAttr(node, 'alpha', 0.2) };
  return [elementwise(x, (data) => context.compute('LeakyRelu', [data], data, { alpha }), context)];
};

const softmaxOf = (op: string, x: TypedValue, context: TranslationContext) => context.compute(op, [x], x, { axis: -1 });

const softmax =
  (op: string): Translator =>
  (_node, _inputs, context) => [softmaxOf(op, context.input(0), context)];

const sumLast = (value: TypedValue, context: TranslationContext) => {
  const shape = value.shape?.slice(0, -1) ?? null;
  return context.compute('ReduceSum', [value], { dtype: value.dtype, shape }, { keepdims: 0 }, [context.int64s([-1])]);
};

const softmaxCrossEntropy: Translator = (_node, _inputs, context) => {
  const [logits, labels] = [context.input(0), context.input(1)];
  const log = softmaxOf('LogSoftmax', logits, context);
  const loss = sumLast(context.binary('Mul', context.compute('Neg', [labels], labels), log), context);
  return [loss, context.binary('Sub', softmaxOf('Softmax', logits, context), labels)];
};

const sparseSoftmaxCrossEntropy: Translator = (_node, _inputs, context) => {
  const [logits, labels] = [context.input(0), context.input(1)];
  const picked = context.unsqueeze(context.castTo(labels, 'int64'), [1]);
  const log = softmaxOf('LogSoftmax', logits, context);
  const chosen = context.emit('GatherElements', [log, picked], { dtype: log.dtype, shape: picked.shape }, { axis: 1 });
  const loss = context.squeeze(context.compute('Neg', [chosen], chosen), [1]);
  const classes = context.dims([context.dimOf(logits, 1)]);
  const count = context.emit('Squeeze', [classes, context.int64s([0])], { dtype: 'int64', shape: [] });
  const range = [context.scalar(0, 'int64'), count, context.scalar(1, 'int64')];
  const hot = context.binary('Equal', picked, context.emit('Range', range, { dtype: 'int64', shape: [-1] }), 'bool');
  const gradient = context.binary('Sub', softmaxOf('Softmax', logits, context), context.castTo(hot, logits.dtype));
  return [loss, context.refine(gradient, { shape: logits.shape })];
};

const l2Loss: Translator = (_node, _inputs, context) => {
  const x = context.input(0);
  const sum = context.compute('ReduceSumSquare', [x], { dtype: x.dtype, shape: [] }, { keepdims: 0 });
  return [context.binary('Mul', sum, like(context, x, 0.5))];
};

/** Translators of this family by op. */
export const ACTIVATIONS: Readonly<Record<string, Translator>> = {
  Relu: activation('Relu'),
  Relu6: relu6,
  LeakyRelu: leakyRelu,
  Elu: activation('Elu'),
  Selu: activation('Selu'),
  Softplus: activation('Softplus'),
  Softsign: activation('Softsign'),
  Softmax: softmax('Softmax'),
  LogSoftmax: softmax('LogSoftmax'),
  SoftmaxCrossEntropyWithLogits: softmaxCrossEntropy,
  SparseSoftmaxCrossEntropyWithLogits: sparseSoftmaxCrossEntropy,
  L2Loss: l2Loss,
};
