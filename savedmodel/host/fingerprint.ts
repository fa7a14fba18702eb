/** The 64-bit string hashes of TensorFlow: FarmHash's fingerprint, its older own hash, and SipHash-2-4. All exact, in bigints modulo 2^64. */

const K0 = 0xc3a5c85c97cb3127n;
const K1 = 0xb492b66fbe98f273n;
const K2 = 0x9ae16a3b2f90404fn;

/** FarmHash `Fingerprint64` (farmhashna::Hash64), as StringToHashBucketFast uses it. */
export function fingerprint64(bytes: Uint8Array): bigint {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.byteLength;
  const f = (at: number) => words.getBigUint64(at, true);
  if (length > 64) return hashLong(f, length);
  const mul = u64(K2 + BigInt(length) * 2n);
  if (length > 32) return hash33to64(f, length, mul);
  if (length > 16) {
    const a = u64(f(0) * K1);
    const b = f(8);
    const c = u64(f(length - 8) * mul);
    const d = u64(f(length - 16) * K2);
    return hash16(u64(rotate(u64(a + b), 43n) + rotate(c, 30n) + d), u64(a + rotate(u64(b + K2), 18n) + c), mul);
  }
  if (length >= 8) {
    const a = u64(f(0) + K2);
    const b = f(length - 8);
    return hash16(u64(rotate(b, 37n) * mul + a), u64((rotate(a, 25n) + b) * mul), mul);
  }
  if (length >= 4) {
    const a = BigInt(words.getUint32(0, true));
    return hash16(u64(BigInt(length) + (a << 3n)), BigInt(words.getUint32(length - 4, true)), mul);
  }
  if (length === 0) return K2;
  const y = BigInt(words.getUint8(0) + words.getUint8(length >> 1) * 256);
  const z = BigInt(length + words.getUint8(length - 1) * 4);
  return u64(shiftMix(u64(y * K2) ^ u64(z * K0)) * K2);
}

/** TensorFlow's `Hash64` with its fixed seed, as the deprecated StringToHashBucket uses it. */
export function hash64(bytes: Uint8Array): bigint {
  const m = 0xc6a4a7935bd1e995n;
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let h = u64(0xdecafcaffen ^ u64(BigInt(bytes.byteLength) * m));
  let at = 0;
  for (; at + 8 <= bytes.byteLength; at += 8) {
    let k = u64(words.getBigUint64(at, true) * m);
    k = u64((k ^ (k >> 47n)) * m);
    h = u64((h ^ k) * m);
  }
  if (at < bytes.byteLength) {
    for (let index = bytes.byteLength - 1; index >= at; index--) h ^= BigInt(bytes[index] ?? 0) << BigInt(8 * (index - at));
    h = u64(h * m);
  }
  h = u64((h ^ (h >> 47n)) * m);
  return h ^ (h >> 47n);
}

/** SipHash-2-4 under a key of two 64-bit words, as StringToHashBucketStrong uses it. */
export function sipHash(bytes: Uint8Array, key: readonly [bigint, bigint]): bigint {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const k0 = u64(key[0]);
  const k1 = u64(key[1]);
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const round = () => {
    v0 = u64(v0 + v1);
    v1 = rotateLeft(v1, 13n) ^ v0;
    v0 = rotateLeft(v0, 32n);
    v2 = u64(v2 + v3);
    v3 = rotateLeft(v3, 16n) ^ v2;
    v0 = u64(v0 + v3);
    v3 = rotateLeft(v3, 21n) ^ v0;
    v2 = u64(v2 + v1);
    v1 = rotateLeft(v1, 17n) ^ v2;
    v2 = rotateLeft(v2, 32n);
  };
  const absorb = (word: bigint) => {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  };
  let at = 0;
  for (; at + 8 <= bytes.byteLength; at += 8) absorb(words.getBigUint64(at, true));
  let last = BigInt(bytes.byteLength & 0xff) << 56n;
  for (let index = at; index < bytes.byteLength; index++) last |= BigInt(bytes[index] ?? 0) << BigInt(8 * (index - at));
  absorb(last);
  v2 ^= 0xffn;
  for (let count = 0; count < 4; count++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

function hash33to64(f: (at: number) => bigint, length: number, mul: bigint): bigint {
  const a = u64(f(0) * K2);
  const b = f(8);
  const c = u64(f(length - 8) * mul);
  const d = u64(f(length - 16) * K2);
  const y = u64(rotate(u64(a + b), 43n) + rotate(c, 30n) + d);
  const z = hash16(y, u64(a + rotate(u64(b + K2), 18n) + c), mul);
  const e = u64(f(16) * mul);
  const g0 = f(24);
  const g = u64((y + f(length - 32)) * mul);
  const h = u64((z + f(length - 24)) * mul);
  return hash16(u64(rotate(u64(e + g0), 43n) + rotate(g, 30n) + h), u64(e + rotate(u64(g0 + a), 18n) + g), mul);
}

type Pair = readonly [bigint, bigint];

function hashLong(f: (at: number) => bigint, length: number): bigint {
  let x = 81n;
  let y = u64(81n * K1 + 113n);
  let z = u64(shiftMix(u64(y * K2 + 113n)) * K2);
  let v: Pair = [0n, 0n];
  let w: Pair = [0n, 0n];
  x = u64(x * K2 + f(0));
  const end = Math.floor((length - 1) / 64) * 64;
  const last = end + ((length - 1) & 63) - 63;
  for (let s = 0; s < end; s += 64) {
    x = u64(rotate(u64(x + y + v[0] + f(s + 8)), 37n) * K1);
    y = u64(rotate(u64(y + v[1] + f(s + 48)), 42n) * K1);
    x ^= w[1];
    y = u64(y + v[0] + f(s + 40));
    z = u64(rotate(u64(z + w[0]), 33n) * K1);
    v = weak(f, s, u64(v[1] * K1), u64(x + w[0]));
    w = weak(f, s + 32, u64(z + w[1]), u64(y + f(s + 16)));
    [z, x] = [x, z];
  }
  const mul = u64(K1 + ((z & 0xffn) << 1n));
  w = [u64(w[0] + BigInt((length - 1) & 63)), w[1]];
  v = [u64(v[0] + w[0]), v[1]];
  w = [u64(w[0] + v[0]), w[1]];
  x = u64(rotate(u64(x + y + v[0] + f(last + 8)), 37n) * mul);
  y = u64(rotate(u64(y + v[1] + f(last + 48)), 42n) * mul);
  x ^= u64(w[1] * 9n);
  y = u64(y + v[0] * 9n + f(last + 40));
  z = u64(rotate(u64(z + w[0]), 33n) * mul);
  v = weak(f, last, u64(v[1] * mul), u64(x + w[0]));
  w = weak(f, last + 32, u64(z + w[1]), u64(y + f(last + 16)));
  [z, x] = [x, z];
  return hash16(u64(hash16(v[0], w[0], mul) + shiftMix(y) * K0 + z), u64(hash16(v[1], w[1], mul) + x), mul);
}

function weak(f: (at: number) => bigint, at: number, first: bigint, second: bigint): Pair {
  const z = f(at + 24);
  let a = u64(first + f(at));
  let b = rotate(u64(second + a + z), 21n);
  const c = a;
  a = u64(a + f(at + 8) + f(at + 16));
  b = u64(b + rotate(a, 44n));
  return [u64(a + z), u64(b + c)];
}

function hash16(u: bigint, v: bigint, mul: bigint): bigint {
  let a = u64((u ^ v) * mul);
  a ^= a >> 47n;
  let b = u64((v ^ a) * mul);
  b ^= b >> 47n;
  return u64(b * mul);
}

function shiftMix(value: bigint): bigint {
  return value ^ (value >> 47n);
}

function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function rotate(value: bigint, by: bigint): bigint {
  return u64((value >> by) | (value << (64n - by)));
}

function rotateLeft(value: bigint, by: bigint): bigint {
  return rotate(value, 64n - by);
}
