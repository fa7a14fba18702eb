/**
 * A map from strings to strings as a servable: TensorFlow Serving's hashmap. A version is a file of `key,value` lines (its `SIMPLE_CSV`), or a
 * folder that holds `hashmap.csv` or just one file. Headrace ships it as the platform `hashmap`.
 *
 * `serving_default` gives for each key its value and whether it is there; the value of a key that is not is empty. `existing` fails with
 * NOT_FOUND instead. Of two lines with one key the first counts.
 */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Loader, ServableAdapter, ServableSignature, ServableVersion } from 'headrace/extend';

const adapter: ServableAdapter = (path) => {
  const loader: Loader = {
    // The file itself, and 8 bytes for each of two to four slots a line.
    estimate: () => 3 * statSync(findFile(path)).size + 2 ** 20,
    async load({ log, signal }) {
      const file = findFile(path);
      const map = await readMap(file, signal);
      log('hashmap loaded', { file, keys: map.size, repeated: map.repeated });
      return servableOf(map);
    },
  };
  return loader;
};

export default adapter;

const keys = { dtype: 'string', shape: [-1] } as const;
const values = { dtype: 'string', shape: [-1] } as const;
const found = { dtype: 'bool', shape: [-1] } as const;
const signatures: Readonly<Record<string, ServableSignature>> = {
  serving_default: { inputs: { keys }, outputs: { values, found }, batchable: true },
  existing: { inputs: { keys }, outputs: { values }, batchable: true },
};

function servableOf(map: ByteMap): ServableVersion {
  return {
    signatures,
    run(signature, inputs) {
      const asked = inputs.keys?.data as readonly Uint8Array[];
      const shape = [asked.length];
      const got = asked.map((key) => map.get(key));
      const missing = signature === 'existing' ? got.indexOf(undefined) : -1;
      if (missing >= 0) {
        const text = `key "${Buffer.from(asked[missing] ?? []).toString()}" is not in the map`;
        throw Object.assign(new Error(text), { code: 'NOT_FOUND' });
      }
      return {
        values: { dtype: 'string', shape, data: got.map((value) => value ?? new Uint8Array(0)) },
        found: { dtype: 'bool', shape, data: Uint8Array.from(got, (value) => (value === undefined ? 0 : 1)) },
      };
    },
  };
}

function findFile(path: string): string {
  if (statSync(path).isFile()) return path;
  const names = readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name);
  const name = names.includes('hashmap.csv') ? 'hashmap.csv' : names.length === 1 ? names[0] : undefined;
  if (name === undefined) throw refuse(`${path} holds no hashmap.csv, and ${names.length} other files where there could be one`);
  return join(path, name);
}

/** Values by key: the lines of the file as they are, and a table of where each begins. A Map would take some hundred bytes for each line. */
interface ByteMap {
  readonly size: number;
  /** Lines whose key an earlier line has. */
  readonly repeated: number;
  get(key: Uint8Array): Uint8Array | undefined;
}

const CHUNK_BYTES = 16 * 1024 * 1024;
/** Lines between two turns of the event loop, so that a load that nobody wants any more can end. */
const LINES_PER_TURN = 100_000;
const NEWLINE = 10;
const RETURN = 13;
const COMMA = 44;

async function readMap(file: string, signal: AbortSignal): Promise<ByteMap> {
  const bytes = readWhole(file);
  let lines = 1;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines++;
  // Where lines begin, plus one; 0: free. At most half of the slots are taken.
  const slots = new Float64Array(2 ** Math.ceil(Math.log2(2 * lines)));
  let size = 0;
  let repeated = 0;
  let line = 0;
  for (let start = 0; start < bytes.length; ) {
    if (++line % LINES_PER_TURN === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    const end = endOf(start);
    const comma = commaOf(start, end);
    if (comma < 0) throw refuse(`${file}, line ${line}: there is no comma between key and value`);
    if (bytes.subarray(comma + 1, end).includes(COMMA)) throw refuse(`${file}, line ${line}: there is more than one comma`);
    const slot = slotOf(bytes.subarray(start, comma));
    if (slots[slot] === 0) {
      slots[slot] = start + 1;
      size++;
    } else repeated++;
    start = end + 1;
  }

  function endOf(start: number): number {
    const end = bytes.indexOf(NEWLINE, start);
    return end < 0 ? bytes.length : end;
  }

  function commaOf(start: number, end: number): number {
    const comma = bytes.indexOf(COMMA, start);
    return comma < end ? comma : -1;
  }

  /** The slot that holds a key, or the free one where it belongs. */
  function slotOf(key: Uint8Array): number {
    let slot = hashOf(key) % slots.length;
    for (; slots[slot] !== 0; slot = (slot + 1) % slots.length) {
      const start = (slots[slot] ?? 0) - 1;
      const comma = bytes.indexOf(COMMA, start);
      if (Buffer.compare(bytes.subarray(start, comma), key) === 0) break;
    }
    return slot;
  }

  return {
    size,
    repeated,
    get(key) {
      const start = (slots[slotOf(key)] ?? 0) - 1;
      if (start < 0) return undefined;
      const end = endOf(start);
      const from = bytes.indexOf(COMMA, start) + 1;
      return bytes.subarray(from, bytes[end - 1] === RETURN ? end - 1 : end);
    },
  };
}

function readWhole(file: string): Buffer {
  const descriptor = openSync(file, 'r');
  try {
    const bytes = Buffer.allocUnsafeSlow(statSync(file).size);
    let filled = 0;
    while (filled < bytes.length) {
      const count = readSync(descriptor, bytes, filled, Math.min(CHUNK_BYTES, bytes.length - filled), filled);
      if (count === 0) throw refuse(`${file} became shorter while it was read`);
      filled += count;
    }
    return bytes;
  } finally {
    closeSync(descriptor);
  }
}

/** FNV-1a, 32 bits. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function refuse(text: string): Error {
  return Object.assign(new Error(text), { code: 'INVALID_ARGUMENT' });
}
