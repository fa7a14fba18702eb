/** Character classes and escapes of RE2 as parts of a JavaScript class. */

/** POSIX classes by name, as the inside of a class. */
export const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\u{0}-\\u{7F}',
  blank: '\\t ',
  cntrl: '\\u{0}-\\u{1F}\\u{7F}',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

/** Perl classes by letter, as the inside of a class; RE2's are ASCII. */
export const PERL: Readonly<Record<string, string>> = { d: '0-9', s: '\\t\\n\\f\\r ', w: '0-9A-Za-z_' };

const CONTROL: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };
const CATEGORY = /^(?:C|Cc|Cf|Co|Cs|L|Ll|Lm|Lo|Lt|Lu|M|Mc|Me|Mn|N|Nd|Nl|No|P|Pc|Pd|Pe|Pf|Pi|Po|Ps|S|Sc|Sk|Sm|So|Z|Zl|Zp|Zs)$/;

/** One escape: a code point or a set, and how many code points of the pattern it took. */
export type EscapeAtom =
  | { readonly kind: 'code'; readonly code: number; readonly units: number }
  | { readonly kind: 'set'; readonly text: string; readonly units: number };

/** Reads an escape (`\n`, `\x{263a}`, `\pL`, …) at the beginning of `rest`; undefined for one that RE2 does not have. */
export function parseClassAtom(rest: string): EscapeAtom | undefined {
  const property = /^\\([pP])(?:\{(\^?)(\w+)\}|([A-Z]))/.exec(rest);
  if (property !== null) {
    const name = property[3] ?? property[4] ?? '';
    const negated = (property[1] === 'P') !== (property[2] === '^');
    const text = propertyText(name, negated);
    return text === undefined ? undefined : { kind: 'set', text, units: property[0].length };
  }
  const hex = /^\\x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))/.exec(rest);
  if (hex !== null) {
    const code = Number.parseInt(hex[1] ?? hex[2] ?? '', 16);
    return code > 0x10ffff ? undefined : { kind: 'code', code, units: hex[0].length };
  }
  const octal = /^\\(0[0-7]{0,2}|[1-7][0-7]{1,2})/.exec(rest);
  if (octal !== null) return { kind: 'code', code: Number.parseInt(octal[1] ?? '', 8), units: octal[0].length };
  const control = CONTROL[rest[1] ?? ''];
  if (control !== undefined) return { kind: 'code', code: control, units: 2 };
  const mark = rest[1];
  if (mark === undefined || mark.charCodeAt(0) >= 128 || /\w/.test(mark)) return undefined;
  return { kind: 'code', code: mark.charCodeAt(0), units: 2 };
}

/** A code point as it may stand in a pattern or a class. */
export function codePointText(code: number): string {
  const unit = String.fromCodePoint(code);
  return /[0-9A-Za-z_ ]/.test(unit) ? unit : `\\u{${code.toString(16)}}`;
}

function propertyText(name: string, negated: boolean): string | undefined {
  const letter = negated ? 'P' : 'p';
  if (name === 'Any') return `\\${letter}{Any}`;
  const text = CATEGORY.test(name) ? `\\${letter}{${name}}` : `\\${letter}{Script=${name}}`;
  try {
    new RegExp(`[${text}]`, 'u');
    return text;
  } catch {
    return undefined;
  }
}
