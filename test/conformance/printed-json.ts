/** JSON with all that a printer decides: the spelling of numbers, the order of keys, the white space. */

/** A value as it was printed. `spaces` is the white space around the parts, one text for each part. */
export type Printed =
  | { readonly type: 'scalar'; readonly text: string }
  | { readonly type: 'array'; readonly spaces: readonly string[]; readonly items: readonly Printed[] }
  | { readonly type: 'object'; readonly spaces: readonly string[]; readonly entries: readonly (readonly [string, Printed])[] };

/** Keys under which protobuf maps are printed, and outputs by name: their order differs from run to run of the real server. */
const MAPS = new Set(['inputs', 'outputs', 'defaults', 'signature_def', 'predictions']);

/** Reads what a server printed, bare NaN and Infinity included. Entries of maps come sorted by key. Null for what is no JSON. */
export function readPrinted(text: string): Printed | null {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|-?(?:\d[\d.eE+-]*|Infinity|NaN)|true|false|null|[[\]{}:,]|\s+|./gs) ?? [];
  let at = 0;
  const peek = () => tokens[at] ?? '';
  const space = () => (/^\s/.test(peek()) ? (tokens[at++] ?? '') : '');
  const expect = (token: string) => {
    if (tokens[at++] !== token) throw new NotJson(`${token} was expected before token ${at} of ${text}`);
  };

  function value(isMap: boolean): Printed {
    if (peek() === '[') {
      const items: Printed[] = [];
      const spaces = list(']', () => {
        items.push(value(isMap));
        return '';
      });
      return { type: 'array', spaces, items };
    }
    if (peek() === '{') {
      const entries: [string, Printed][] = [];
      const spaces = list('}', () => {
        const key = scalar();
        const before = space();
        expect(':');
        const after = space();
        entries.push([key, value(MAPS.has(JSON.parse(key) as string))]);
        return `${before}:${after}`;
      });
      if (isMap) entries.sort(([one], [other]) => (one < other ? -1 : 1));
      return { type: 'object', spaces, entries };
    }
    return { type: 'scalar', text: scalar() };
  }

  /** What is between brackets: gives the white space of each part, before, inside and after it. */
  function list(end: string, part: () => string): readonly string[] {
    at++;
    const first = space();
    if (peek() === end) {
      at++;
      return [first];
    }
    const spaces = [`${first}|${part()}|${space()}`];
    while (peek() === ',') {
      at++;
      spaces.push(`${space()}|${part()}|${space()}`);
    }
    expect(end);
    return spaces;
  }

  function scalar(): string {
    const token = tokens[at++] ?? '';
    if (!/^["\d-]|^(true|false|null|NaN|Infinity)$/.test(token)) throw new NotJson(`a value was expected at token ${at} of ${text}`);
    return token;
  }

  try {
    space();
    const whole = value(false);
    space();
    return at === tokens.length ? whole : null;
  } catch (caught) {
    if (caught instanceof NotJson) return null;
    throw caught;
  }
}

class NotJson extends Error {}

/** What was recorded, with the received spelling of each float that is close enough: what remains different is different. */
export function closeTo(recorded: Printed, received: Printed | undefined, isClose: (one: number, other: number) => boolean): Printed {
  if (recorded.type === 'scalar') {
    if (received?.type !== 'scalar' || !isFloat(recorded.text) || !isFloat(received.text)) return recorded;
    return isClose(Number(recorded.text), Number(received.text)) ? received : recorded;
  }
  if (recorded.type === 'array') {
    const items = received?.type === 'array' ? received.items : [];
    return { ...recorded, items: recorded.items.map((item, index) => closeTo(item, items[index], isClose)) };
  }
  const entries = received?.type === 'object' ? received.entries : [];
  return { ...recorded, entries: recorded.entries.map(([key, item], index) => [key, closeTo(item, entries[index]?.[1], isClose)]) };
}

/** The text again, with the entries of maps in order. */
export function printAgain(printed: Printed): string {
  if (printed.type === 'scalar') return printed.text;
  const parts = printed.type === 'array' ? printed.items.map(printAgain) : printed.entries.map(([key, item]) => [key, printAgain(item)]);
  const spaced = printed.spaces.map((space, index) => {
    const [before = '', inside = '', after = ''] = space.split('|');
    const part = parts[index] ?? '';
    return typeof part === 'string' ? before + part + after : before + part.join(inside) + after;
  });
  return printed.type === 'array' ? `[${spaced}]` : `{${spaced}}`;
}

/** Integers have neither a point nor an exponent where the real server prints them. */
function isFloat(text: string): boolean {
  return /^-?(\d+(\.\d+)?(e[+-]?\d+)?|Infinity|NaN)$/.test(text) && /[.eN]|Inf/.test(text);
}
