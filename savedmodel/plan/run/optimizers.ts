/** The update rules of TensorFlow's training ops, so that a `train` signature works. Computed in doubles, stored in the variables' dtype. */

/** Numbers of one element: first those that are variables, then those that are the same for all elements. */
export type Cell = Readonly<Record<string, number>>;

/** One rule. */
export interface Optimizer {
  /** Inputs in order: variables, scalars, and `grad`. */
  readonly inputs: readonly string[];
  /** Those that are variables, the first being what is trained. */
  readonly variables: readonly string[];
  /** What becomes of the variables of one element; `flags` are the op's bool attributes. */
  readonly step: (cell: Record<string, number>, flags: (name: string, otherwise: boolean) => boolean) => void;
}

function optimizer(inputs: string, variables: number, step: Optimizer['step']): Optimizer {
  const names = inputs.split(' ');
  return { inputs: names, variables: names.slice(0, variables), step };
}

const of = (cell: Cell, name: string): number => cell[name] ?? 0;

/** Rules by the name that ops have after `Apply`. */
export const OPTIMIZERS: Readonly<Record<string, Optimizer>> = {
  GradientDescent: optimizer('var alpha grad', 1, (c) => {
    c.var = of(c, 'var') - of(c, 'alpha') * of(c, 'grad');
  }),
  Momentum: optimizer('var accum lr grad momentum', 2, (c, flags) => {
    const accum = of(c, 'accum') * of(c, 'momentum') + of(c, 'grad');
    const move = flags('use_nesterov', false) ? of(c, 'grad') + accum * of(c, 'momentum') : accum;
    c.accum = accum;
    c.var = of(c, 'var') - move * of(c, 'lr');
  }),
  KerasMomentum: optimizer('var accum lr grad momentum', 2, (c, flags) => {
    const accum = of(c, 'accum') * of(c, 'momentum') - of(c, 'grad') * of(c, 'lr');
    const move = flags('use_nesterov', false) ? accum * of(c, 'momentum') - of(c, 'grad') * of(c, 'lr') : accum;
    c.accum = accum;
    c.var = of(c, 'var') + move;
  }),
  Adagrad: optimizer('var accum lr grad', 2, (c, flags) => {
    if (flags('update_slots', true)) c.accum = of(c, 'accum') + of(c, 'grad') ** 2;
    c.var = of(c, 'var') - (of(c, 'lr') * of(c, 'grad')) / Math.sqrt(of(c, 'accum'));
  }),
  AdagradV2: optimizer('var accum lr epsilon grad', 2, (c, flags) => {
    if (flags('update_slots', true)) c.accum = of(c, 'accum') + of(c, 'grad') ** 2;
    c.var = of(c, 'var') - (of(c, 'lr') * of(c, 'grad')) / (Math.sqrt(of(c, 'accum')) + of(c, 'epsilon'));
  }),
  Adadelta: optimizer('var accum accum_update lr rho epsilon grad', 3, (c) => {
    const [rho, epsilon, grad] = [of(c, 'rho'), of(c, 'epsilon'), of(c, 'grad')];
    c.accum = of(c, 'accum') * rho + grad ** 2 * (1 - rho);
    const move = (Math.sqrt(of(c, 'accum_update') + epsilon) / Math.sqrt(of(c, 'accum') + epsilon)) * grad;
    c.accum_update = of(c, 'accum_update') * rho + move ** 2 * (1 - rho);
    c.var = of(c, 'var') - move * of(c, 'lr');
  }),
  Adam: optimizer('var m v beta1_power beta2_power lr beta1 beta2 epsilon grad', 3, (c, flags) => {
    const [beta1, grad] = [of(c, 'beta1'), of(c, 'grad')];
    const rate = (of(c, 'lr') * Math.sqrt(1 - of(c, 'beta2_power'))) / (1 - of(c, 'beta1_power'));
    c.m = of(c, 'm') + (grad - of(c, 'm')) * (1 - beta1);
    c.v = of(c, 'v') + (grad ** 2 - of(c, 'v')) * (1 - of(c, 'beta2'));
    const move = flags('use_nesterov', false) ? of(c, 'm') * beta1 + (1 - beta1) * grad : of(c, 'm');
    c.var = of(c, 'var') - (move * rate) / (Math.sqrt(of(c, 'v')) + of(c, 'epsilon'));
  }),
  AdamWithAmsgrad: optimizer('var m v vhat beta1_power beta2_power lr beta1 beta2 epsilon grad', 4, (c) => {
    const rate = (of(c, 'lr') * Math.sqrt(1 - of(c, 'beta2_power'))) / (1 - of(c, 'beta1_power'));
    c.m = of(c, 'm') + (of(c, 'grad') - of(c, 'm')) * (1 - of(c, 'beta1'));
    c.v = of(c, 'v') + (of(c, 'grad') ** 2 - of(c, 'v')) * (1 - of(c, 'beta2'));
    c.vhat = Math.max(of(c, 'vhat'), of(c, 'v'));
    c.var = of(c, 'var') - (of(c, 'm') * rate) / (Math.sqrt(of(c, 'vhat')) + of(c, 'epsilon'));
  }),
  AdaMax: optimizer('var m v beta1_power lr beta1 beta2 epsilon grad', 3, (c) => {
    c.m = of(c, 'm') + (of(c, 'grad') - of(c, 'm')) * (1 - of(c, 'beta1'));
    c.v = Math.max(of(c, 'beta2') * of(c, 'v'), Math.abs(of(c, 'grad')));
    c.var = of(c, 'var') - ((of(c, 'lr') / (1 - of(c, 'beta1_power'))) * of(c, 'm')) / (of(c, 'v') + of(c, 'epsilon'));
  }),
  RMSProp: optimizer('var ms mom lr rho momentum epsilon grad', 3, (c) => {
    c.ms = of(c, 'ms') + (of(c, 'grad') ** 2 - of(c, 'ms')) * (1 - of(c, 'rho'));
    c.mom = of(c, 'mom') * of(c, 'momentum') + (of(c, 'lr') * of(c, 'grad')) / Math.sqrt(of(c, 'ms') + of(c, 'epsilon'));
    c.var = of(c, 'var') - of(c, 'mom');
  }),
  CenteredRMSProp: optimizer('var mg ms mom lr rho momentum epsilon grad', 4, (c) => {
    c.ms = of(c, 'ms') + (of(c, 'grad') ** 2 - of(c, 'ms')) * (1 - of(c, 'rho'));
    c.mg = of(c, 'mg') + (of(c, 'grad') - of(c, 'mg')) * (1 - of(c, 'rho'));
    const spread = of(c, 'ms') - of(c, 'mg') ** 2 + of(c, 'epsilon');
    c.mom = of(c, 'mom') * of(c, 'momentum') + (of(c, 'lr') * of(c, 'grad')) / Math.sqrt(spread);
    c.var = of(c, 'var') - of(c, 'mom');
  }),
  Ftrl: optimizer('var accum linear grad lr l1 l2 lr_power', 3, (c, flags) => followTheLeader(c, flags, 0)),
  FtrlV2: optimizer('var accum linear grad lr l1 l2 l2_shrinkage lr_power', 3, (c, flags) =>
    followTheLeader(c, flags, of(c, 'l2_shrinkage')),
  ),
};

function followTheLeader(c: Record<string, number>, flags: (name: string, otherwise: boolean) => boolean, shrinkage: number): void {
  const [lr, power, trained, before] = [of(c, 'lr'), -of(c, 'lr_power'), of(c, 'var'), of(c, 'accum')];
  const grad = of(c, 'grad') + 2 * shrinkage * trained;
  const accum = before + of(c, 'grad') ** 2;
  // With the flag, `linear` is kept multiplied by the rate.
  const unit = flags('multiply_linear_by_lr', false) ? lr : 1;
  const linear = of(c, 'linear') + unit * grad - ((accum ** power - before ** power) / lr) * unit * trained;
  const bound = of(c, 'l1') * unit;
  const quadratic = (accum ** power / lr + 2 * of(c, 'l2')) * unit;
  c.accum = accum;
  c.linear = linear;
  c.var = Math.abs(linear) > bound ? (Math.sign(linear) * bound - linear) / quadratic : 0;
}
