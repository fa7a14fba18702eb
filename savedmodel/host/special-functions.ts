/** Special functions in doubles: gamma and its like, error functions, Bessel, Hurwitz zeta. Accurate to about 1e-13; dtypes round after. */

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];
/** B(2k) / (2k)! for the Euler-Maclaurin sum. */
const BERNOULLI = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160];

/** The logarithm of the absolute value of the gamma function. */
export function lgamma(x: number): number {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? x : Number.POSITIVE_INFINITY;
  if (x <= 0 && Number.isInteger(x)) return Number.POSITIVE_INFINITY;
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - lgamma(1 - x);
  if (x === 1 || x === 2) return 0;
  if (x > 20)
    return (
      (x - 0.5) * Math.log(x) -
      x +
      0.5 * Math.log(2 * Math.PI) +
      1 / (12 * x) -
      1 / (360 * x ** 3) +
      1 / (1260 * x ** 5) -
      1 / (1680 * x ** 7)
    );
  const shifted = x - 1;
  const sum = LANCZOS.reduce((total, coefficient, k) => total + (k === 0 ? coefficient : coefficient / (shifted + k)), 0);
  const t = shifted + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The derivative of lgamma. */
export function digamma(x: number): number {
  if (x <= 0 && Number.isInteger(x)) return Number.NaN;
  if (x < 0) return digamma(1 - x) - Math.PI / Math.tan(Math.PI * x);
  let sum = 0;
  let at = x;
  for (; at < 12; at++) sum -= 1 / at;
  const f = 1 / (at * at);
  return sum + Math.log(at) - 0.5 / at - f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132)))));
}

/** The lower (`lower`) or upper regularised incomplete gamma function. */
export function incompleteGamma(a: number, x: number, lower: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(x) || x < 0 || a <= 0) return Number.NaN;
  if (x === 0) return lower ? 0 : 1;
  if (x === Number.POSITIVE_INFINITY) return lower ? 1 : 0;
  const front = Math.exp(a * Math.log(x) - x - lgamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = 1; n < 5000 && Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
      term *= x / (a + n);
      sum += term;
    }
    return lower ? sum * front : 1 - sum * front;
  }
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let h = d;
  for (let n = 1; n < 5000; n++) {
    const an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    h *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return lower ? 1 - front * h : front * h;
}

/** The error function; near zero by its series, so that small values keep their digits. */
export function erf(x: number): number {
  if (x === 0 || Number.isNaN(x)) return x;
  return Math.sign(x) * incompleteGamma(0.5, x * x, true);
}

/** 1 - erf(x), with its digits for large x. */
export function erfc(x: number): number {
  if (Number.isNaN(x)) return x;
  return x >= 0 ? incompleteGamma(0.5, x * x, false) : 1 + incompleteGamma(0.5, x * x, true);
}

/** The quantile of the standard normal distribution. */
export function ndtri(p: number): number {
  if (!(p >= 0 && p <= 1)) return Number.NaN;
  if (p === 0 || p === 1) return p === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (p === 0.5) return 0;
  const small = Math.min(p, 1 - p);
  const t = Math.sqrt(-2 * Math.log(small));
  // Abramowitz and Stegun 26.2.23, then Halley's steps on the tail itself.
  let x = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t ** 3);
  for (let step = 0; step < 4; step++) {
    const error = 0.5 * erfc(x / Math.SQRT2) - small;
    const slope = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const move = error / slope;
    x += move / (1 - (x * move) / 2);
  }
  return p < 0.5 ? -x : x;
}

/** The inverse of erf. */
export function erfinv(x: number): number {
  if (!(Math.abs(x) <= 1)) return Number.NaN;
  if (Math.abs(x) < 1e-8) return (x * Math.sqrt(Math.PI)) / 2;
  return ndtri((x + 1) / 2) / Math.SQRT2;
}

/** The Hurwitz zeta function: the sum of (k + q)^-s. */
export function zeta(s: number, q: number): number {
  if (s === 1) return Number.POSITIVE_INFINITY;
  if (!(s > 1)) return Number.NaN;
  if (q <= 0) {
    if (Number.isInteger(q)) return Number.POSITIVE_INFINITY;
    if (!Number.isInteger(s)) return Number.NaN;
  }
  let sum = 0;
  let at = q;
  for (let n = 0; n < 12 || at < 12; n++, at++) sum += at ** -s;
  sum += at ** (1 - s) / (s - 1) + 0.5 * at ** -s;
  let factor = s;
  let power = at ** (-s - 1);
  BERNOULLI.forEach((coefficient, k) => {
    sum += coefficient * factor * power;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2);
    power /= at * at;
  });
  return sum;
}

/** The derivative of order n of digamma. */
export function polygamma(n: number, x: number): number {
  if (!(n >= 0) || !Number.isInteger(n)) return Number.NaN;
  if (n === 0) return digamma(x);
  return (n % 2 === 0 ? -1 : 1) * Math.exp(lgamma(n + 1)) * zeta(n + 1, x);
}

/** The regularised incomplete beta function, by its continued fraction. */
export function betainc(a: number, b: number, x: number): number {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return Number.NaN;
  if (x === 0 || x === 1) return x;
  const front = Math.exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  return x < (a + 1) / (a + b + 2) ? (front * fraction(a, b, x)) / a : 1 - (front * fraction(b, a, 1 - x)) / b;
}

function fraction(a: number, b: number, x: number): number {
  const keep = (value: number) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1;
  let d = 1 / keep(1 - ((a + b) * x) / (a + 1));
  let h = d;
  for (let m = 1; m < 5000; m++) {
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / keep(1 + term * d);
      c = keep(1 + term / c);
      h *= d * c;
    }
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return h;
}

/** The modified Bessel function of order 0 or 1, times exp(-|x|). */
export function besselScaled(order: 0 | 1, x: number): number {
  const size = Math.abs(x);
  const sign = order === 1 && x < 0 ? -1 : 1;
  if (size <= 30) {
    let term = order === 0 ? 1 : size / 2;
    let sum = term;
    for (let k = 1; k < 500 && term > sum * 1e-18; k++) {
      term *= (size * size) / 4 / (k * (k + order));
      sum += term;
    }
    return sign * sum * Math.exp(-size);
  }
  const mu = 4 * order * order;
  let term = 1;
  let sum = 1;
  for (let k = 1; k < 30; k++) {
    const next = (-term * (mu - (2 * k - 1) ** 2)) / (k * 8 * size);
    if (Math.abs(next) >= Math.abs(term)) break;
    term = next;
    sum += term;
  }
  return (sign * sum) / Math.sqrt(2 * Math.PI * size);
}
