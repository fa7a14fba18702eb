/**
 * RE2's syntax as JavaScript regular expressions, and as a tree for the linear-time machine, which runs what JavaScript would match
 * differently or might take too long for. What RE2 refuses is refused with its words. Texts are those of `textOfBytes`: like RE2 on broken UTF-8, neither `.` nor a class matches a byte
 * that is not part of a valid sequence.
 */
import { ServeError } from '#mesh/errors.ts';
import { codePointText, PERL, POSIX, parseClassAtom } from './regex-class.ts';
import type { RegexNode } from './regex-machine.ts';

/** A pattern, read. */
export interface CompiledRegex {
  /** For JavaScript. */
  readonly source: string;
  /** For the machine. */
  readonly tree: RegexNode;
  readonly groups: number;
  /** True where JavaScript would match differently. */
  readonly machineOnly: boolean;
  /** True with `^`, `$`, `\\b` and their like: JavaScript also finds them within a surrogate pair. */
  readonly hasPlaces: boolean;
  /** How JavaScript's time grows: a power of the text's length, infinite where it is exponential. */
  readonly power: { readonly whole: number; readonly search: number };
  /** Groups inside a repeated group: JavaScript forgets them at each turn and RE2 does not, so rewrites must not name them. */
  readonly unsafeGroups: ReadonlySet<number>;
}

/** Whether a pattern means the same here as in RE2. */
export function regexSupported(pattern: string): { readonly supported: true } | { readonly supported: false; readonly why: string } {
  try {
    compileRegex(pattern);
    return { supported: true };
  } catch (error) {
    return { supported: false, why: error instanceof Error ? error.message : String(error) };
  }
}

/** Translates a pattern. Throws INVALID_ARGUMENT in TensorFlow's words for what RE2 refuses, UNIMPLEMENTED for what differs. */
export function compileRegex(pattern: string): CompiledRegex {
  const parser = new Re2Parser(pattern);
  const piece = parser.parse();
  new RegExp(piece.text, 'u');
  return {
    source: piece.text,
    tree: piece.tree,
    groups: parser.groups,
    machineOnly: parser.machineOnly,
    hasPlaces: piece.text.includes('(?!') || piece.text.includes('(?<'),
    unsafeGroups: parser.unsafeGroups,
    // A search tries every place; what can only be matched last is never given back.
    power: { whole: Math.max(1, piece.power), search: piece.power - piece.tail === 0 ? 1 : piece.power - piece.tail + 1 },
  };
}

/** A bare byte of broken UTF-8. */
const BROKEN = '\\uDC80-\\uDCFF';

interface Flags {
  readonly i: boolean;
  readonly m: boolean;
  readonly s: boolean;
  readonly U: boolean;
}

/** A translated piece, and what must be known to repeat it. */
interface Piece {
  readonly text: string;
  /** Can match the empty text. */
  readonly nullable: boolean;
  /** Has alternatives or lazy repeats, which may prefer an empty match to a longer one. */
  readonly choosy: boolean;
  readonly tree: RegexNode;
  /** Can match in more than one way at one place. */
  readonly flexible: boolean;
  /** How many times over its length can be chosen, as the power of JavaScript's time; infinite for choices within a repetition. */
  readonly power: number;
  /** The part of `power` that comes of what stands last. */
  readonly tail: number;
}

/** The longest operator, escape or class by name, and the longest name of a group, with room to spare. */
const TOKEN_UNITS = 64;
const NAME_UNITS = 1024;
/** Groups inside each other: the stack bounds what can be read, and what reads the tree later. */
const MOST_NESTED = 250;

/** What one optional piece adds to the power of JavaScript's time: each doubles the ways, as long as there is text for them. */
const OPTION_POWER = 0.25;

class Re2Parser {
  readonly unsafeGroups = new Set<number>();
  groups = 0;
  machineOnly = false;
  readonly #pattern: string;
  readonly #units: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#units = Array.from(pattern);
  }

  parse(): Piece {
    const piece = this.#alternatives({ i: false, m: false, s: false, U: false });
    if (this.#at < this.#units.length) throw this.#bad('unexpected )', this.#pattern);
    return piece;
  }

  #alternatives(outer: Flags): Piece {
    const branches: Piece[] = [];
    let flags = outer;
    for (;;) {
      const [piece, after] = this.#sequence(flags);
      flags = after;
      branches.push(piece);
      if (this.#units[this.#at] !== '|') break;
      this.#at++;
    }
    const [only] = branches;
    if (branches.length === 1 && only !== undefined) return only;
    return {
      text: branches.map((one) => one.text).join('|'),
      nullable: branches.some((one) => one.nullable),
      choosy: true,
      tree: { type: 'any', of: branches.map((one) => one.tree) },
      flexible: true,
      power: branches.reduce((sum, one) => sum + one.power, 0),
      tail: branches.reduce((sum, one) => sum + (one.power === one.tail ? one.power : 0), 0),
    };
  }

  #sequence(outer: Flags): [Piece, Flags] {
    let flags = outer;
    let text = '';
    let nullable = true;
    let choosy = false;
    let power = 0;
    let tail = 0;
    let flexible = false;
    const trees: RegexNode[] = [];
    while (this.#at < this.#units.length) {
      const unit = this.#units[this.#at];
      if (unit === '|' || unit === ')') break;
      const changed = this.#flagChange(flags);
      if (changed !== undefined) {
        flags = changed;
        continue;
      }
      const piece = this.#repeated(flags);
      text += piece.text;
      nullable &&= piece.nullable;
      choosy ||= piece.choosy;
      power += piece.power;
      tail = piece.tail;
      flexible ||= piece.flexible;
      trees.push(piece.tree);
    }
    return [{ text, nullable, choosy, tree: { type: 'all', of: trees }, flexible, power, tail }, flags];
  }

  /** `(?flags)`: the flags from here to the end of the group. */
  #flagChange(flags: Flags): Flags | undefined {
    if (this.#units[this.#at] !== '(') return undefined;
    const match = /^\(\?([imsU]*(?:-[imsU]+)?)\)/.exec(this.#rest(TOKEN_UNITS));
    if (match === null || match[1] === '') return undefined;
    this.#at += match[0].length;
    return applyFlags(flags, match[1] ?? '');
  }

  #repeated(flags: Flags): Piece {
    const groupsBefore = this.groups;
    const start = this.#at;
    const atom = this.#atom(flags);
    const operator = this.#operator();
    if (operator === undefined) return atom;
    if (start === this.#at) throw this.#bad('no argument for repetition operator', operator.text);
    const again = this.#operator();
    if (again !== undefined) throw this.#bad('bad repetition operator', operator.raw + again.raw);
    const { min, max } = operator;
    if (max > 1) {
      if (atom.nullable && atom.choosy) this.machineOnly = true;
      // The group that is itself repeated keeps its last turn in both; those inside it do not.
      const own = atom.text.startsWith('(') && !atom.text.startsWith('(?') ? 1 : 0;
      for (let group = groupsBefore + 1 + own; group <= this.groups; group++) this.unsafeGroups.add(group);
    }
    const lazy = operator.lazy !== flags.U;
    // Repeats within repeats and alternatives within repeats can be chosen in exponentially many ways.
    const varies = max > 1 && (atom.flexible || atom.nullable);
    const option = min === 0 && max === 1 ? OPTION_POWER : 0;
    const power = varies ? Number.POSITIVE_INFINITY : max > 1 && max !== min ? 1 : atom.power + option;
    return {
      text: `(?:${atom.text})${operator.text}${lazy ? '?' : ''}`,
      nullable: min === 0 || atom.nullable,
      choosy: atom.choosy || lazy,
      flexible: atom.flexible || min !== max,
      tree: { type: 'repeat', of: atom.tree, nullable: atom.nullable, min, max, lazy },
      power,
      tail: varies ? 0 : power,
    };
  }

  #operator():
    | { readonly text: string; readonly raw: string; readonly min: number; readonly max: number; readonly lazy: boolean }
    | undefined {
    if (!['*', '+', '?', '{'].includes(this.#units[this.#at] ?? '')) return undefined;
    const match = /^(?:[*+?]|\{(\d+)(,(\d*))?\})(\??)/.exec(this.#rest(TOKEN_UNITS));
    if (match === null) return undefined;
    this.#at += match[0].length;
    const lazy = match[4] === '?';
    const text = lazy ? match[0].slice(0, -1) : match[0];
    if (match[1] === undefined)
      return { text, raw: match[0], min: text === '+' ? 1 : 0, max: text === '?' ? 1 : Number.POSITIVE_INFINITY, lazy };
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (min > 1000 || (Number.isFinite(max) && max > 1000) || max < min) throw this.#bad('invalid repetition size', text);
    return { text, raw: match[0], min, max, lazy };
  }

  #atom(flags: Flags): Piece {
    const unit = this.#units[this.#at++] ?? '';
    switch (unit) {
      case '(':
        return this.#group(flags);
      case '[':
        return consuming(this.#class(flags));
      case '.':
        return consuming(flags.s ? `[^${BROKEN}]` : `[^\\n${BROKEN}]`);
      case '^':
        return assertion(flags.m ? '(?<![^\\n])' : '(?<![^])');
      case '$':
        return assertion(flags.m ? '(?![^\\n])' : '(?![^])');
      case '*':
      case '+':
      case '?':
        throw this.#bad('no argument for repetition operator', unit);
      case '\\':
        return this.#escape(flags);
      default:
        return consuming(literal(unit, flags.i));
    }
  }

  #group(outer: Flags): Piece {
    const rest = this.#units[this.#at] === '?' ? this.#rest(NAME_UNITS) : '';
    let open = '(';
    let flags = outer;
    const named = /^\?P?<([^>]*)>/.exec(rest);
    const flagged = /^\?([imsU]*(?:-[imsU]+)?):/.exec(rest);
    if (named !== null && !/^\?<[=!]/.test(rest)) {
      if (!/^\w+$/.test(named[1] ?? '')) throw this.#bad('invalid named capture group', `(${named[0]}`);
      this.#at += named[0].length;
    } else if (flagged !== null) {
      this.#at += flagged[0].length;
      open = '(?:';
      flags = applyFlags(outer, flagged[1] ?? '');
    } else if (rest.startsWith('?')) throw this.#bad('invalid perl operator', `(${/^\?(?:<[=!]|.)/.exec(rest)?.[0] ?? '?'}`);
    const group = open === '(' ? ++this.groups : 0;
    if (++this.#depth > MOST_NESTED)
      throw new ServeError('UNIMPLEMENTED', `a regular expression has groups nested deeper than ${MOST_NESTED}`);
    const inner = this.#alternatives(flags);
    this.#depth--;
    if (this.#units[this.#at] !== ')') throw this.#bad('missing )', this.#pattern);
    this.#at++;
    return { ...inner, text: `${open}${inner.text})`, tree: group === 0 ? inner.tree : { type: 'group', index: group, of: inner.tree } };
  }

  #escape(flags: Flags): Piece {
    const unit = this.#units[this.#at] ?? '';
    if (unit === '') throw new ServeError('INVALID_ARGUMENT', `Invalid pattern: ${this.#pattern}, error: trailing \\`);
    if (unit === 'Q') {
      const rest = this.#rest();
      const end = rest.indexOf('\\E');
      const quoted = end < 0 ? rest.slice(1) : rest.slice(1, end);
      this.#at += Array.from(quoted).length + (end < 0 ? 1 : 3);
      const pieces = Array.from(quoted, (one) => consuming(literal(one, flags.i)));
      return {
        text: pieces.map((piece) => piece.text).join(''),
        nullable: quoted === '',
        choosy: false,
        tree: { type: 'all', of: pieces.map((piece) => piece.tree) },
        flexible: false,
        power: 0,
        tail: 0,
      };
    }
    if (unit === 'C') throw differs(this.#pattern, '\\C, a byte');
    const edge: Readonly<Record<string, string>> = { A: '(?<![^])', z: '(?![^])' };
    if (edge[unit] !== undefined) {
      this.#at++;
      return assertion(edge[unit]);
    }
    if (unit === 'b' || unit === 'B') {
      this.#at++;
      const word = '[0-9A-Za-z_]';
      const boundary = `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`;
      const between = `(?:(?<=${word})(?=${word})|(?<!${word})(?!${word}))`;
      return assertion(`(?-i:${unit === 'b' ? boundary : between})`);
    }
    const perl = PERL[unit.toLowerCase()];
    if (perl !== undefined) {
      this.#at++;
      return consuming(unit === unit.toLowerCase() ? `(?-i:[${perl}])` : `(?-i:[^${perl}${BROKEN}])`);
    }
    this.#at--;
    const atom = parseClassAtom(this.#rest(TOKEN_UNITS));
    if (atom === undefined) throw this.#badEscape(unit);
    this.#at += atom.units;
    if (atom.kind === 'code') return consuming(literal(String.fromCodePoint(atom.code), flags.i));
    return consuming(insensitive(`(?![${BROKEN}])[${atom.text}]`, flags.i));
  }

  /** The rest of `[…]`, after the bracket. */
  #class(flags: Flags): string {
    const opened = this.#at - 1;
    let negated = false;
    if (this.#units[this.#at] === '^') {
      negated = true;
      this.#at++;
    }
    let text = '';
    for (let first = true; ; first = false) {
      const unit = this.#units[this.#at];
      if (unit === undefined) throw this.#bad('missing ]', this.#units.slice(opened).join(''));
      if (unit === ']' && !first) break;
      text += this.#classItem();
    }
    this.#at++;
    return insensitive(`(?![${BROKEN}])[${negated ? '^' : ''}${text}]`, flags.i);
  }

  #classItem(): string {
    const start = this.#at;
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#rest(TOKEN_UNITS));
    if (posix !== null) {
      const range = POSIX[posix[2] ?? ''];
      if (range === undefined) throw this.#bad('invalid character class range', posix[0]);
      this.#at += posix[0].length;
      return posix[1] === '^' ? complement(range) : range;
    }
    const low = this.#classAtom();
    if (low.kind === 'set') return low.text;
    if (this.#units[this.#at] !== '-' || this.#units[this.#at + 1] === ']' || this.#units[this.#at + 1] === undefined)
      return codePointText(low.code);
    this.#at++;
    const high = this.#classAtom();
    if (high.kind === 'set' || high.code < low.code) {
      throw this.#bad('invalid character class range', this.#units.slice(start, this.#at).join(''));
    }
    return `${codePointText(low.code)}-${codePointText(high.code)}`;
  }

  #classAtom(): { readonly kind: 'code'; readonly code: number } | { readonly kind: 'set'; readonly text: string } {
    const unit = this.#units[this.#at] ?? '';
    if (unit !== '\\') {
      this.#at++;
      return { kind: 'code', code: unit.codePointAt(0) ?? 0 };
    }
    const letter = this.#units[this.#at + 1] ?? '';
    const perl = PERL[letter.toLowerCase()];
    if (perl !== undefined) {
      this.#at += 2;
      return { kind: 'set', text: letter === letter.toLowerCase() ? perl : complement(perl) };
    }
    const atom = parseClassAtom(this.#rest(TOKEN_UNITS));
    if (atom === undefined) throw this.#badEscape(letter);
    this.#at += atom.units;
    return atom;
  }

  #badEscape(letter: string): ServeError {
    const property = /^\\[pP](?:\{[^}]*\}|.)/u.exec(this.#rest());
    return property === null
      ? this.#bad('invalid escape sequence', `\\${letter}`)
      : this.#bad('invalid character class range', property[0]);
  }

  /** What comes next. All of it for each unit would take the square of a pattern's length: `most` is enough for what is looked for. */
  #rest(most = Number.POSITIVE_INFINITY): string {
    return this.#units.slice(this.#at, this.#at + most).join('');
  }

  #bad(what: string, fragment: string): ServeError {
    return new ServeError('INVALID_ARGUMENT', `Invalid pattern: ${this.#pattern}, error: ${what}: ${fragment}`);
  }
}

function differs(pattern: string, what: string): ServeError {
  return new ServeError('UNIMPLEMENTED', `regular expression ${pattern} has ${what}: JavaScript does not match that as RE2 does`);
}

function consuming(text: string): Piece {
  return { text, nullable: false, choosy: false, tree: { type: 'character', text }, flexible: false, power: 0, tail: 0 };
}

function assertion(text: string): Piece {
  return { text, nullable: true, choosy: false, tree: { type: 'place', text }, flexible: false, power: 0, tail: 0 };
}

function literal(unit: string, ignoreCase: boolean): string {
  return insensitive(codePointText(unit.codePointAt(0) ?? 0), ignoreCase);
}

function insensitive(text: string, ignoreCase: boolean): string {
  return ignoreCase ? `(?i:${text})` : text;
}

/** A set of ASCII ranges turned round. Only sets of code points below 128 come here. */
function complement(ranges: string): string {
  const inside = new RegExp(`[${ranges}]`, 'u');
  const parts: string[] = [];
  for (let code = 0; code < 128; code++) if (!inside.test(String.fromCharCode(code))) parts.push(codePointText(code));
  return `${parts.join('')}\\u{80}-\\u{10FFFF}`;
}

function applyFlags(flags: Flags, change: string): Flags {
  const [on = '', off = ''] = change.split('-');
  const value = (name: keyof Flags) => (off.includes(name) ? false : on.includes(name) ? true : flags[name]);
  return { i: value('i'), m: value('m'), s: value('s'), U: value('U') };
}
