/** The Huffman code of HPACK (RFC 7541, appendix B), for reading. */
import { ConnectionError, ERROR } from './protocol.ts';

/**
 * Bits of each byte's code. Codes are canonical: in order of length, then of value, each is the one before plus one. The end-of-string symbol,
 * 30 ones, is left out: it may not occur.
 */
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
  12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
  7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22,
  23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
  24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
] as const;

/** Of a place in the tree: a byte that ends here is written as its complement. */
const NOWHERE = 0;
/** Padding is the start of the end-of-string symbol, and shorter than a byte (RFC 7541, section 5.2). */
const LONGEST_PADDING_BITS = 7;

/**
 * The code as a tree in an array: entries 2n and 2n + 1 say where zero and one lead from node n. Above 0: to that node. Below 0: to the byte
 * that is its complement. 0: nowhere.
 */
const TREE = buildTree();

/** Reads a Huffman-coded text as latin1. Throws COMPRESSION_ERROR for what is no code. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  let node = 0;
  /** Bits since the last whole symbol, and whether all of them were ones. */
  let bits = 0;
  let ones = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >>> bit) & 1;
      const next = TREE[2 * node + one] as number;
      if (next < 0) {
        text += String.fromCharCode(~next);
        node = 0;
        bits = 0;
        ones = true;
        continue;
      }
      if (next === NOWHERE) throw new ConnectionError(ERROR.compression, 'a header has a Huffman code that means nothing');
      node = next;
      bits++;
      ones &&= one === 1;
    }
  }
  if (bits > LONGEST_PADDING_BITS || !ones)
    throw new ConnectionError(ERROR.compression, 'a Huffman-coded header ends in the wrong padding');
  return text;
}

function buildTree(): Int16Array {
  // 256 leaves and the path to the end-of-string symbol need fewer than 290 nodes.
  const tree = new Int16Array(2 * 320);
  let nodes = 1;
  const order = Array.from(CODE_BITS.keys()).sort((a, b) => (CODE_BITS[a] ?? 0) - (CODE_BITS[b] ?? 0) || a - b);
  let code = 0;
  let bits = CODE_BITS[order[0] ?? 0] ?? 0;
  for (const [rank, byte] of order.entries()) {
    const length = CODE_BITS[byte] ?? 0;
    if (rank > 0) code = (code + 1) << (length - bits);
    bits = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const place = 2 * node + ((code >>> bit) & 1);
      if (tree[place] === NOWHERE) tree[place] = nodes++;
      node = tree[place] ?? 0;
    }
    tree[2 * node + (code & 1)] = ~byte;
  }
  return tree;
}
