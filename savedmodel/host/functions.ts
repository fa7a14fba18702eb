/** Functions of numbers, element by element, for tensors that stay on the host and dtypes that the ONNX runtime lacks. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostKernel } from '../host-value.ts';
import { broadcastIndices, broadcastShape } from './broadcast.ts';
import { fromNumbers, type HostKernels, input, numbers } from './host-tensor.ts';
import { besselScaled, betainc, digamma, erf, erfc, erfinv, incompleteGamma, lgamma, ndtri, polygamma, zeta } from './special-functions.ts';

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

/** Trigonometry, activations, gamma and its like, error functions, Bessel functions, the special quotients. */
export const FUNCTION_OPS: HostKernels = {
  Sin: of(Math.sin),
  Cos: of(Math.cos),
  Tan: of(Math.tan),
  Asin: of(Math.asin),
  Acos: of(Math.acos),
  Atan: of(Math.atan),
  Sinh: of(Math.sinh),
  Cosh: of(Math.cosh),
  Tanh: of(Math.tanh),
  Asinh: of(Math.asinh),
  Acosh: of(Math.acosh),
  Atanh: of(Math.atanh),
  Atan2: of(Math.atan2),
  Expm1: of(Math.expm1),
  Rsqrt: of((x) => 1 / Math.sqrt(x)),
  Reciprocal: of((x) => 1 / x),
  Inv: of((x) => 1 / x),
  Sigmoid: of((x) => 1 / (1 + Math.exp(-x))),
  Softplus: of((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  Softsign: of((x) => x / (1 + Math.abs(x))),
  Relu: of((x) => Math.max(0, x)),
  Relu6: of((x) => Math.min(6, Math.max(0, x))),
  Elu: of((x) => (x < 0 ? Math.expm1(x) : x)),
  Selu: of((x) => SELU_SCALE * (x < 0 ? SELU_ALPHA * Math.expm1(x) : x)),
  Xdivy: of((x, y) => (x === 0 ? 0 : x / y)),
  Xlogy: of((x, y) => (x === 0 ? 0 : x * Math.log(y))),
  Xlog1py: of((x, y) => (x === 0 ? 0 : x * Math.log1p(y))),
  MulNoNan: of((x, y) => (y === 0 ? 0 : x * y)),
  Lgamma: of(lgamma),
  Digamma: of(digamma),
  Polygamma: of(polygamma),
  Zeta: of(zeta),
  Igamma: of((a, x) => incompleteGamma(a, x, true)),
  Igammac: of((a, x) => incompleteGamma(a, x, false)),
  Betainc: of(betainc),
  Erf: of(erf),
  Erfc: of(erfc),
  Erfinv: of(erfinv),
  Ndtri: of(ndtri),
  BesselI0e: of((x) => besselScaled(0, x)),
  BesselI1e: of((x) => besselScaled(1, x)),
  BesselI0: of((x) => besselScaled(0, x) * Math.exp(Math.abs(x))),
  BesselI1: of((x) => besselScaled(1, x) * Math.exp(Math.abs(x))),
};

/** A kernel of a function of as many tensors as it has arguments, broadcast together. */
function of(compute: (a: number, b: number, c: number) => number): HostKernel {
  return (inputs) => {
    const first = input(inputs, 0);
    if (inputs.length === 1) {
      return [
        fromNumbers(
          first.dtype,
          first.shape,
          Float64Array.from(numbers(first), (value) => compute(value, 0, 0)),
        ),
      ];
    }
    const shape = inputs.map((tensor) => tensor.shape).reduce(broadcastShape);
    const columns = inputs.map((tensor) => ({ values: numbers(tensor), at: broadcastIndices(tensor.shape, shape) }));
    const value = (column: number, index: number) => columns[column]?.values[columns[column]?.at[index] ?? 0] ?? 0;
    const out = Float64Array.from({ length: elementCount(shape) }, (_, index) =>
      compute(value(0, index), value(1, index), value(2, index)),
    );
    return [fromNumbers(first.dtype, shape, out)];
  };
}
