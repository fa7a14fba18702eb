/**
 * Inverse cosine transforms as libjpeg computes them, in integers: the fast one (AA&N, 8 bits of fraction, no rounding), which TensorFlow
 * takes unless told otherwise, the accurate one (13 bits), and the accurate ones to 4, 2 and 1 samples a side for images read smaller.
 */

/** Which 8x8 transform. */
export type DctMethod = 'fast' | 'accurate';

/** Transforms the block of 64 coefficients at `from` and writes its samples (size x size) to `out` at `to`, rows `stride` apart. */
export type InverseDct = (coefficients: Int16Array, from: number, out: Uint8Array, to: number, stride: number) => void;

/** The transform of a component with this quantisation table (natural order) to blocks of 8, 4, 2 or 1 samples a side. */
export function inverseDct(quant: Uint16Array, size: 8 | 4 | 2 | 1, method: DctMethod): InverseDct {
  const workspace = new Int32Array(64);
  if (size === 8 && method === 'fast') {
    const scaled = fastMultipliers(quant);
    return (coefficients, from, out, to, stride) => fast(coefficients, from, scaled, workspace, out, to, stride);
  }
  const multipliers = Int32Array.from(quant);
  const transform = { 8: accurate, 4: quarter, 2: sixteenth, 1: average }[size];
  return (coefficients, from, out, to, stride) => transform(coefficients, from, multipliers, workspace, out, to, stride);
}

type Transform = (c: Int16Array, from: number, q: Int32Array, w: Int32Array, out: Uint8Array, to: number, stride: number) => void;

/** The quantisation table with the factors of AA&N in it, 2 bits of fraction. */
function fastMultipliers(quant: Uint16Array): Int32Array {
  const factor = Array.from({ length: 8 }, (_, k) => (k === 0 ? 1 : Math.cos((k * Math.PI) / 16) * Math.SQRT2));
  return Int32Array.from(quant, (value, at) => {
    const scale = Math.round((factor[at >> 3] ?? 1) * (factor[at & 7] ?? 1) * 16384);
    return (value * scale + 2048) >> 12;
  });
}

/** A signed sample around 0 as a byte around 128. */
function byte(value: number): number {
  return value < -128 ? 0 : value > 127 ? 255 : value + 128;
}

const fast: Transform = (c, from, q, w, out, to, stride) => {
  for (let i = 0; i < 8; i++) {
    const at = from + i;
    const c1 = c[at + 8] as number;
    const c2 = c[at + 16] as number;
    const c3 = c[at + 24] as number;
    const c4 = c[at + 32] as number;
    const c5 = c[at + 40] as number;
    const c6 = c[at + 48] as number;
    const c7 = c[at + 56] as number;
    const dc = (c[at] as number) * (q[i] as number);
    if ((c1 | c2 | c3 | c4 | c5 | c6 | c7) === 0) {
      w[i] = w[i + 8] = w[i + 16] = w[i + 24] = w[i + 32] = w[i + 40] = w[i + 48] = w[i + 56] = dc;
      continue;
    }
    const even1 = c2 * (q[i + 16] as number);
    const even2 = c4 * (q[i + 32] as number);
    const even3 = c6 * (q[i + 48] as number);
    const sum04 = dc + even2;
    const diff04 = dc - even2;
    const sum26 = even1 + even3;
    const turn26 = (((even1 - even3) * 362) >> 8) - sum26;
    const e0 = sum04 + sum26;
    const e3 = sum04 - sum26;
    const e1 = diff04 + turn26;
    const e2 = diff04 - turn26;
    const odd1 = c1 * (q[i + 8] as number);
    const odd3 = c3 * (q[i + 24] as number);
    const odd5 = c5 * (q[i + 40] as number);
    const odd7 = c7 * (q[i + 56] as number);
    const z13 = odd5 + odd3;
    const z10 = odd5 - odd3;
    const z11 = odd1 + odd7;
    const z12 = odd1 - odd7;
    const o7 = z11 + z13;
    const z5 = ((z10 + z12) * 473) >> 8;
    const o6 = ((z10 * -669) >> 8) + z5 - o7;
    const o5 = (((z11 - z13) * 362) >> 8) - o6;
    const o4 = ((z12 * 277) >> 8) - z5 + o5;
    w[i] = e0 + o7;
    w[i + 56] = e0 - o7;
    w[i + 8] = e1 + o6;
    w[i + 48] = e1 - o6;
    w[i + 16] = e2 + o5;
    w[i + 40] = e2 - o5;
    w[i + 32] = e3 + o4;
    w[i + 24] = e3 - o4;
  }
  for (let row = 0, at = to; row < 64; row += 8, at += stride) {
    const w0 = w[row] as number;
    const w1 = w[row + 1] as number;
    const w2 = w[row + 2] as number;
    const w3 = w[row + 3] as number;
    const w4 = w[row + 4] as number;
    const w5 = w[row + 5] as number;
    const w6 = w[row + 6] as number;
    const w7 = w[row + 7] as number;
    const sum04 = w0 + w4;
    const diff04 = w0 - w4;
    const sum26 = w2 + w6;
    const turn26 = (((w2 - w6) * 362) >> 8) - sum26;
    const e0 = sum04 + sum26;
    const e3 = sum04 - sum26;
    const e1 = diff04 + turn26;
    const e2 = diff04 - turn26;
    const z13 = w5 + w3;
    const z10 = w5 - w3;
    const z11 = w1 + w7;
    const z12 = w1 - w7;
    const o7 = z11 + z13;
    const z5 = ((z10 + z12) * 473) >> 8;
    const o6 = ((z10 * -669) >> 8) + z5 - o7;
    const o5 = (((z11 - z13) * 362) >> 8) - o6;
    const o4 = ((z12 * 277) >> 8) - z5 + o5;
    out[at] = byte((e0 + o7) >> 5);
    out[at + 7] = byte((e0 - o7) >> 5);
    out[at + 1] = byte((e1 + o6) >> 5);
    out[at + 6] = byte((e1 - o6) >> 5);
    out[at + 2] = byte((e2 + o5) >> 5);
    out[at + 5] = byte((e2 - o5) >> 5);
    out[at + 4] = byte((e3 + o4) >> 5);
    out[at + 3] = byte((e3 - o4) >> 5);
  }
};

const accurate: Transform = (c, from, q, w, out, to, stride) => {
  for (let i = 0; i < 8; i++) {
    const value = (k: number) => (c[from + i + 8 * k] as number) * (q[i + 8 * k] as number);
    accurateLine(value(0), value(1), value(2), value(3), value(4), value(5), value(6), value(7), 11, w, i, 8);
  }
  for (let row = 0; row < 64; row += 8) {
    const value = (k: number) => w[row + k] as number;
    accurateLine(value(0), value(1), value(2), value(3), value(4), value(5), value(6), value(7), 18, w, row, 1);
    for (let k = 0; k < 8; k++) out[to + (row >> 3) * stride + k] = byte(w[row + k] as number);
  }
};

/** One line of eight; results rounded and shifted right. */
function accurateLine(
  v0: number,
  v1: number,
  v2: number,
  v3: number,
  v4: number,
  v5: number,
  v6: number,
  v7: number,
  shift: number,
  w: Int32Array,
  at: number,
  step: number,
): void {
  const round = 1 << (shift - 1);
  const turn = (v2 + v6) * 4433;
  const low = turn - v6 * 15137;
  const high = turn + v2 * 6270;
  const sum = (v0 + v4) * 8192;
  const diff = (v0 - v4) * 8192;
  const e0 = sum + high + round;
  const e3 = sum - high + round;
  const e1 = diff + low + round;
  const e2 = diff - low + round;
  const z5 = (v7 + v3 + v5 + v1) * 9633;
  const z1 = (v7 + v1) * -7373;
  const z2 = (v5 + v3) * -20995;
  const z3 = (v7 + v3) * -16069 + z5;
  const z4 = (v5 + v1) * -3196 + z5;
  const o0 = v7 * 2446 + z1 + z3;
  const o1 = v5 * 16819 + z2 + z4;
  const o2 = v3 * 25172 + z2 + z3;
  const o3 = v1 * 12299 + z1 + z4;
  w[at] = (e0 + o3) >> shift;
  w[at + 7 * step] = (e0 - o3) >> shift;
  w[at + step] = (e1 + o2) >> shift;
  w[at + 6 * step] = (e1 - o2) >> shift;
  w[at + 2 * step] = (e2 + o1) >> shift;
  w[at + 5 * step] = (e2 - o1) >> shift;
  w[at + 3 * step] = (e3 + o0) >> shift;
  w[at + 4 * step] = (e3 - o0) >> shift;
}

/** To 4x4 samples. The fifth row and column of coefficients have no part in it. */
const quarter: Transform = (c, from, q, w, out, to, stride) => {
  const line = (value: (k: number) => number, shift: number, set: (k: number, value: number) => void) => {
    const round = 1 << (shift - 1);
    const dc = value(0) * 16384 + round;
    const even = value(2) * 15137 - value(6) * 6270;
    const near = value(7) * -1730 + value(5) * 11893 - value(3) * 17799 + value(1) * 8697;
    const far = value(7) * -4176 - value(5) * 4926 + value(3) * 7373 + value(1) * 20995;
    set(0, (dc + even + far) >> shift);
    set(3, (dc + even - far) >> shift);
    set(1, (dc - even + near) >> shift);
    set(2, (dc - even - near) >> shift);
  };
  for (let i = 0; i < 8; i++) {
    if (i === 4) continue;
    line(
      (k) => (c[from + i + 8 * k] as number) * (q[i + 8 * k] as number),
      12,
      (k, value) => {
        w[i + 8 * k] = value;
      },
    );
  }
  for (let row = 0; row < 4; row++) {
    line(
      (k) => w[8 * row + k] as number,
      19,
      (k, value) => {
        out[to + row * stride + k] = byte(value);
      },
    );
  }
};

/** To 2x2 samples, by the first and the odd rows and columns of coefficients. */
const sixteenth: Transform = (c, from, q, w, out, to, stride) => {
  const odd = (value: (k: number) => number) => value(7) * -5906 + value(5) * 6967 - value(3) * 10426 + value(1) * 29692;
  for (const i of [0, 1, 3, 5, 7]) {
    const value = (k: number) => (c[from + i + 8 * k] as number) * (q[i + 8 * k] as number);
    const dc = value(0) * 32768 + 4096;
    w[i] = (dc + odd(value)) >> 13;
    w[i + 8] = (dc - odd(value)) >> 13;
  }
  for (let row = 0; row < 2; row++) {
    const value = (k: number) => w[8 * row + k] as number;
    const dc = value(0) * 32768 + 524288;
    out[to + row * stride] = byte((dc + odd(value)) >> 20);
    out[to + row * stride + 1] = byte((dc - odd(value)) >> 20);
  }
};

const average: Transform = (c, from, q, _w, out, to) => {
  out[to] = byte(((c[from] as number) * (q[0] as number) + 4) >> 3);
};
