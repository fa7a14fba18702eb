/** Chooses what runs a pattern: JavaScript's engine where it is surely fast and right, else the linear-time machine. */
import type { CompiledRegex } from './regex.ts';
import { regexMachine } from './regex-machine.ts';

/** One match: where it is and the texts of its groups (0 is the whole). */
export interface RegexMatch {
  readonly start: number;
  readonly end: number;
  readonly groups: readonly (string | undefined)[];
}

/** The most steps that JavaScript's backtracking may come to for one text: some milliseconds. */
const MAX_BACKTRACKING = 1_000_000;

/** Finds the matches of a pattern from left to right; `named` are the groups that are asked for. */
export function matcher(compiled: CompiledRegex, named: readonly number[]): (text: string) => Iterable<RegexMatch> {
  const forgets = named.some((group) => compiled.unsafeGroups.has(group));
  const direct = compiled.machineOnly || forgets ? undefined : new RegExp(compiled.source, 'gu');
  let machine: ReturnType<typeof regexMachine> | undefined;
  return (text) => {
    const misplaces = compiled.hasPlaces && /[\ud800-\udbff]/.test(text);
    if (direct !== undefined && !misplaces && isFast(compiled.power.search, text)) return javascriptMatches(direct, text);
    machine ??= regexMachine(compiled.tree, compiled.groups);
    return machineMatches(machine, compiled.groups, text);
  };
}

/** Tells whether a whole text matches. */
export function wholeMatcher(compiled: CompiledRegex): (text: string) => boolean {
  const direct = compiled.machineOnly ? undefined : new RegExp(`^(?:${compiled.source})$`, 'u');
  let machine: ReturnType<typeof regexMachine> | undefined;
  return (text) => {
    if (direct !== undefined && isFast(compiled.power.whole, text)) return direct.test(text);
    machine ??= regexMachine(compiled.tree, compiled.groups);
    return machine.matchesWhole(text);
  };
}

function isFast(power: number, text: string): boolean {
  return power <= 1 || text.length ** power <= MAX_BACKTRACKING;
}

function* javascriptMatches(pattern: RegExp, text: string): Iterable<RegexMatch> {
  for (const match of text.matchAll(pattern)) yield { start: match.index, end: match.index + match[0].length, groups: match };
}

function* machineMatches(machine: ReturnType<typeof regexMachine>, groupCount: number, text: string): Iterable<RegexMatch> {
  for (let from = 0; from <= text.length; ) {
    const places = machine.search(text, from);
    if (places === undefined) return;
    const [start = 0, end = 0] = places;
    const groups = Array.from({ length: groupCount + 1 }, (_, group) => {
      const [first = -1, last = -1] = [places[2 * group], places[2 * group + 1]];
      return first < 0 || last < 0 ? undefined : text.slice(first, last);
    });
    yield { start, end, groups };
    from = end > start ? end : end + ((text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
  }
}
