/** Random numbers. The stateless ops give TensorFlow's own numbers; the others are drawn anew at each call, with the right distribution. */
import { randomBytes } from 'node:crypto';
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostKernel, HostTensor } from '../host-value.ts';
import {
  allocate,
  bigints,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  invalid,
  isBig,
  numbers,
  scalar,
  shapeOf,
  shapeText,
  take,
} from './host-tensor.ts';
import { keyAndCounter, normalPair, Philox, philoxOfSeed, uniform } from './philox.ts';

type Draw = (generator: Philox, shape: readonly number[], dtype: DType, bounds: readonly HostTensor[]) => HostTensor;

/** RandomUniform and its like, Multinomial, RandomShuffle, and the stateless ops with a seed or (V2) with key and counter. */
export const RANDOM_OPS: HostKernels = {
  RandomUniform: fresh(drawUniform),
  RandomStandardNormal: fresh(drawNormal),
  TruncatedNormal: fresh(drawTruncated),
  RandomUniformInt: fresh(drawIntegers),
  ...stateless('RandomUniform', drawUniform),
  ...stateless('RandomNormal', drawNormal),
  ...stateless('TruncatedNormal', drawTruncated),
  ...stateless('RandomUniformInt', drawIntegers),
  ...stateless('RandomUniformFullInt', drawBits),
  StatelessRandomGetKeyCounter: (inputs) => seedParts(seedOf(input(inputs, 0))),
  StatelessRandomGetAlg: () => [fromNumbers('int32', [], [1])],
  StatelessRandomGetKeyCounterAlg: (inputs) => [...seedParts(seedOf(input(inputs, 0))), fromNumbers('int32', [], [1])],
  Multinomial: (inputs, attrs) => [multinomial(freshPhilox(), inputs, attrs)],
  RandomShuffle: (inputs) => [shuffle(freshPhilox(), input(inputs, 0))],
};

function freshPhilox(): Philox {
  const bytes = randomBytes(24);
  return new Philox(bytes.readBigUInt64LE(0), [bytes.readBigUInt64LE(8), bytes.readBigUInt64LE(16)]);
}

function fresh(draw: Draw): HostKernel {
  return (inputs, attrs) => [draw(freshPhilox(), shapeOf(input(inputs, 0)), dtypeOf(inputs, attrs), inputs.slice(1))];
}

function stateless(name: string, draw: Draw): HostKernels {
  return {
    [`Stateless${name}`]: (inputs, attrs) => {
      const generator = philoxOfSeed(seedOf(input(inputs, 1)));
      return [draw(generator, shapeOf(input(inputs, 0)), dtypeOf(inputs.slice(1), attrs), inputs.slice(2))];
    },
    [`Stateless${name}V2`]: (inputs, attrs) => {
      const [key = 0n] = Array.from(bigints(input(inputs, 1)));
      const [low = 0n, upper = 0n] = Array.from(bigints(input(inputs, 2)));
      const algorithm = scalar(input(inputs, 3), 'alg');
      if (algorithm !== 1 && algorithm !== 3)
        throw new ServeError('UNIMPLEMENTED', `random number algorithm ${algorithm} is not supported`);
      return [draw(new Philox(key, [low, upper]), shapeOf(input(inputs, 0)), dtypeOf(inputs.slice(3), attrs), inputs.slice(4))];
    },
  };
}

function seedOf(seed: HostTensor): readonly [bigint, bigint] {
  const [first, second] = Array.from(bigints(seed));
  if (seed.shape.length !== 1 || seed.shape[0] !== 2 || first === undefined || second === undefined) {
    throw invalid(`seed must have shape [2], not ${shapeText(seed.shape)}`);
  }
  return [first, second];
}

function seedParts(seed: readonly [bigint, bigint]): HostTensor[] {
  const { key, counter } = keyAndCounter(seed);
  return [
    { dtype: 'uint64', shape: [1], data: BigUint64Array.of(key) },
    { dtype: 'uint64', shape: [2], data: BigUint64Array.of(0n, counter) },
  ];
}

/** The dtype attribute; ops of bounds have the dtype of those instead. */
function dtypeOf(inputs: readonly HostTensor[], attrs: HostAttrs): DType {
  if (attrs.has('dtype')) return attrs.dtype('dtype');
  return input(inputs, 1).dtype;
}

function real(dtype: DType): 'float' | 'double' | 'half' {
  if (dtype === 'float' || dtype === 'double' || dtype === 'half') return dtype;
  throw new ServeError('UNIMPLEMENTED', `random numbers of dtype ${dtype} are not supported`);
}

function drawUniform(generator: Philox, shape: readonly number[], dtype: DType): HostTensor {
  const values = allocate('double', elementCount(shape)) as Float64Array;
  for (let index = 0; index < values.length; index++) values[index] = uniform(generator, real(dtype));
  return fromNumbers(dtype, shape, values);
}

function drawNormal(generator: Philox, shape: readonly number[], dtype: DType): HostTensor {
  const values = allocate('double', elementCount(shape)) as Float64Array;
  const kind = real(dtype) === 'double' ? 'double' : 'float';
  for (let index = 0; index < values.length; index += 2) {
    const [first, second] = normalPair(generator, kind);
    values[index] = first;
    if (index + 1 < values.length) values[index + 1] = second;
  }
  return fromNumbers(dtype, shape, values);
}

/** Normal numbers within two deviations. Each group of results has 256 draws per result to itself. */
function drawTruncated(generator: Philox, shape: readonly number[], dtype: DType): HostTensor {
  const values = allocate('double', elementCount(shape)) as Float64Array;
  const kind = real(dtype) === 'double' ? 'double' : 'float';
  const group = kind === 'double' ? 2 : 4;
  for (let from = 0; from < values.length; from += group) {
    const end = Math.min(values.length, from + group);
    let groups = 0;
    for (let index = from; index < end; ) {
      for (const value of normalPair(generator, kind)) if (Math.abs(value) < 2 && index < end) values[index++] = value;
      groups += kind === 'double' ? 1 : 0.5;
    }
    generator.skip(group * 64 - Math.ceil(groups));
  }
  return fromNumbers(dtype, shape, values);
}

function drawIntegers(generator: Philox, shape: readonly number[], _dtype: DType, bounds: readonly HostTensor[]): HostTensor {
  const [low, high] = [input(bounds, 0), input(bounds, 1)];
  const [from = 0n, to = 0n] = [bigints(low)[0], bigints(high)[0]];
  if (low.shape.length !== 0) throw invalid(`minval must be 0-D, got shape ${shapeText(low.shape)}`);
  if (high.shape.length !== 0) throw invalid(`maxval must be 0-D, got shape ${shapeText(high.shape)}`);
  if (from >= to) throw invalid(`Need minval < maxval, got ${from} >= ${to}`);
  const count = elementCount(shape);
  if (isBig(low.dtype)) {
    const data = allocate(low.dtype, count) as BigInt64Array;
    for (let index = 0; index < count; index++) data[index] = from + (wide(generator) % (to - from));
    return { dtype: low.dtype, shape, data };
  }
  const values = allocate('double', count) as Float64Array;
  const [start, range] = [Number(from), Number(to - from)];
  for (let index = 0; index < count; index++) values[index] = start + (generator.next() % range);
  return fromNumbers(low.dtype, shape, values);
}

function wide(generator: Philox): bigint {
  return BigInt(generator.next()) | (BigInt(generator.next()) << 32n);
}

function drawBits(generator: Philox, shape: readonly number[], dtype: DType): HostTensor {
  const data = allocate(dtype, elementCount(shape));
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let index = 0; index < data.length; index++) data[index] = wide(generator);
  } else for (let index = 0; index < data.length; index++) data[index] = generator.next();
  return { dtype, shape, data };
}

/** Draws classes by their logits [rows, classes]. */
function multinomial(generator: Philox, inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const logits = input(inputs, 0);
  const count = scalar(input(inputs, 1), 'num_samples');
  if (logits.shape.length !== 2) throw invalid(`logits should be a matrix, got shape ${shapeText(logits.shape)}`);
  if (count < 0) throw invalid(`num_samples should be nonnegative, got ${count}`);
  const [rows, classes] = [dim(logits.shape, 0), dim(logits.shape, 1)];
  if (rows > 0 && count > 0 && classes === 0) throw invalid('num_classes should be positive, got 0');
  const values = numbers(logits);
  const out = allocate('double', rows * count) as Float64Array;
  for (let row = 0; row < rows; row++) {
    const line = Array.from({ length: classes }, (_, at) => values[row * classes + at] ?? 0);
    const most = line.reduce((max, value) => (Number.isFinite(value) && value > max ? value : max), Number.NEGATIVE_INFINITY);
    let sum = 0;
    const sums = line.map((value) => {
      sum += Number.isFinite(value) ? Math.exp(value - most) : 0;
      return sum;
    });
    for (let index = 0; index < count; index++) {
      const mark = uniform(generator, 'double') * sum;
      out[row * count + index] = Math.max(
        0,
        sums.findIndex((value) => value > mark),
      );
    }
  }
  return fromNumbers(attrs.has('output_dtype') ? attrs.dtype('output_dtype') : 'int64', [rows, count], out);
}

function shuffle(generator: Philox, tensor: HostTensor): HostTensor {
  if (tensor.shape.length === 0) return tensor;
  const rows = dim(tensor.shape, 0);
  const inner = elementCount(tensor.shape.slice(1));
  const order = Array.from({ length: rows }, (_, row) => row);
  for (let row = rows - 1; row > 0; row--) {
    const other = Math.floor(uniform(generator, 'double') * (row + 1));
    [order[row], order[other]] = [order[other] ?? 0, order[row] ?? 0];
  }
  const indices = order.flatMap((row) => Array.from({ length: inner }, (_, at) => row * inner + at));
  return take(tensor, tensor.shape, indices);
}
