/** Base64 as absl's Base64Unescape reads it: the standard alphabet only, white space skipped, padding optional but right when present. */

/** Characters decoded at once; a multiple of 4. Strings up to this size are cheap to make, larger ones are not. */
const CHUNK = 16_384;

/** Decodes `buf[from, to)`; undefined when it is not plain, strictly padded base64 without white space. */
export function decodePlainBase64(buf: Buffer, from: number, to: number): Uint8Array | undefined {
  const length = to - from;
  if (length % 4 !== 0) return undefined;
  const padding = length === 0 || buf[to - 1] !== 0x3d ? 0 : buf[to - 2] === 0x3d ? 2 : 1;
  const decoded = Buffer.allocUnsafeSlow((length / 4) * 3 - padding);
  let written = 0;
  for (let start = from; start < to; start += CHUNK) {
    const end = Math.min(to, start + CHUNK);
    const text = buf.toString('latin1', start, end);
    // Node also takes the URL alphabet, which TensorFlow Serving refuses.
    if (text.includes('-') || text.includes('_')) return undefined;
    // The decoder skips what is not base64 and ends at padding: bytes are then missing.
    const expected = ((end - start) / 4) * 3 - (end === to ? padding : 0);
    if (decoded.write(text, written, 'base64') !== expected) return undefined;
    written += expected;
  }
  return decoded;
}

/** Decodes base64; undefined when it is malformed. */
export function decodeBase64(source: Uint8Array): Uint8Array | undefined {
  const buf = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
  const plain = decodePlainBase64(buf, 0, buf.byteLength);
  if (plain !== undefined) return plain;
  const dense = buf.toString('latin1').replace(/[ \t\n\v\f\r]/g, '');
  const match = /^([A-Za-z0-9+/]*)([=.]*)$/.exec(dense);
  if (match === null) return undefined;
  const [, digits = '', padding = ''] = match;
  const left = digits.length % 4;
  if (left === 1) return undefined;
  const wanted = left === 0 ? 0 : 4 - left;
  if (padding.length !== 0 && padding.length !== wanted) return undefined;
  return Buffer.from(digits, 'base64');
}
