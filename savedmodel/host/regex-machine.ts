/**
 * A machine for regular expressions whose time is linear in the text: all ways to match are followed at once, in their order of preference,
 * so that the leftmost match and its groups are those that RE2 finds.
 */
import { invalid } from './host-tensor.ts';

/** A pattern as a tree. Characters and places (zero-width conditions) carry the JavaScript expression that tells them. */
export type RegexNode =
  | { readonly type: 'character'; readonly text: string }
  | { readonly type: 'place'; readonly text: string }
  | { readonly type: 'all'; readonly of: readonly RegexNode[] }
  | { readonly type: 'any'; readonly of: readonly RegexNode[] }
  | { readonly type: 'group'; readonly index: number; readonly of: RegexNode }
  | {
      readonly type: 'repeat';
      readonly of: RegexNode;
      readonly nullable: boolean;
      readonly min: number;
      readonly max: number;
      readonly lazy: boolean;
    };

/** One step of a program. */
type Step =
  | { readonly type: 'character'; readonly test: (code: number) => boolean }
  | { readonly type: 'place'; readonly test: (text: string, at: number) => boolean }
  | { readonly type: 'save'; readonly slot: number }
  /** Goes on at either place, the first preferred. */
  | { readonly type: 'fork'; first: number; second: number }
  | { readonly type: 'match' };

/** Repetitions are written out: more steps than this and RE2 would refuse the pattern too. */
const MAX_STEPS = 20_000;

/** What a match found: places in the text by group (0 is the whole), -1 for a group that took no part. */
export type Places = Int32Array;

/** A program of the machine. */
export interface RegexMachine {
  /** The leftmost match at or after `from`. */
  search(text: string, from: number): Places | undefined;
  /** Whether all of the text matches. */
  matchesWhole(text: string): boolean;
}

/** Writes the program of a tree with `groups` groups. Throws INVALID_ARGUMENT for a pattern that grows too large. */
export function regexMachine(tree: RegexNode, groups: number): RegexMachine {
  const steps: Step[] = [];
  const add = (step: Step) => {
    if (steps.length >= MAX_STEPS) throw invalid('Invalid pattern: pattern too large - compile failed');
    steps.push(step);
    return step;
  };
  const fork = () => add({ type: 'fork', first: steps.length + 1, second: steps.length + 1 }) as Extract<Step, { type: 'fork' }>;
  /** Points the arm of a fork that leaves a repetition to what comes next. */
  const leave = (step: Extract<Step, { type: 'fork' }>, lazy: boolean, to: number) => {
    if (lazy) step.first = to;
    else step.second = to;
  };
  const enter = (step: Extract<Step, { type: 'fork' }>, lazy: boolean, to: number) => leave(step, !lazy, to);
  const atLeastOnce = (of: RegexNode, lazy: boolean) => {
    const start = steps.length;
    write(of);
    enter(fork(), lazy, start);
  };
  const write = (node: RegexNode): void => {
    switch (node.type) {
      case 'character':
        add({ type: 'character', test: characterTest(node.text) });
        return;
      case 'place':
        add({ type: 'place', test: placeTest(node.text) });
        return;
      case 'all':
        for (const part of node.of) write(part);
        return;
      case 'group':
        add({ type: 'save', slot: 2 * node.index });
        write(node.of);
        add({ type: 'save', slot: 2 * node.index + 1 });
        return;
      case 'any': {
        const exits: Extract<Step, { type: 'fork' }>[] = [];
        node.of.forEach((branch, index) => {
          const choice = index < node.of.length - 1 ? fork() : undefined;
          write(branch);
          if (choice === undefined) return;
          exits.push(fork());
          choice.second = steps.length;
        });
        for (const exit of exits) exit.first = exit.second = steps.length;
        return;
      }
      case 'repeat':
        writeRepeat(node);
    }
  };
  const writeRepeat = ({ of, nullable, min, max, lazy }: Extract<RegexNode, { type: 'repeat' }>) => {
    if (max === Number.POSITIVE_INFINITY) {
      for (let turn = 1; turn < min; turn++) write(of);
      if (min > 0) atLeastOnce(of, lazy);
      else if (nullable) {
        const skip = fork();
        atLeastOnce(of, lazy);
        leave(skip, lazy, steps.length);
      } else {
        const start = steps.length;
        const choice = fork();
        write(of);
        const back = fork();
        back.first = back.second = start;
        leave(choice, lazy, steps.length);
      }
      return;
    }
    for (let turn = 0; turn < min; turn++) write(of);
    const skips: Extract<Step, { type: 'fork' }>[] = [];
    for (let turn = min; turn < max; turn++) {
      skips.push(fork());
      write(of);
    }
    for (const skip of skips) leave(skip, lazy, steps.length);
  };
  write(tree);
  add({ type: 'match' });
  return {
    search: (text, from) => run(steps, groups, text, from, false),
    matchesWhole: (text) => run(steps, 0, text, 0, true) !== undefined,
  };
}

/** Remembers each code point's answer: patterns see few different ones. */
function characterTest(text: string): (code: number) => boolean {
  const one = new RegExp(`^(?:${text})$`, 'u');
  const known = new Map<number, boolean>();
  return (code) => {
    let answer = known.get(code);
    if (answer === undefined) {
      answer = one.test(String.fromCodePoint(code));
      if (known.size < 4096) known.set(code, answer);
    }
    return answer;
  };
}

function placeTest(text: string): (text: string, at: number) => boolean {
  const place = new RegExp(text, 'uy');
  return (whole, at) => {
    place.lastIndex = at;
    return place.test(whole);
  };
}

/** The ways that are followed at one place of the text, the preferred first. */
interface Ways {
  readonly at: number[];
  readonly places: Places[];
}

function run(steps: readonly Step[], groups: number, text: string, from: number, whole: boolean): Places | undefined {
  const seen = new Float64Array(steps.length).fill(-1);
  const blank = new Int32Array(2 * (groups + 1)).fill(-1);
  const pending: number[] = [];
  const pendingPlaces: Places[] = [];
  /** Follows forks, saves and places from a step on; each step is reached once per place of the text. */
  const follow = (ways: Ways, start: number, found: Places, at: number) => {
    pending.push(start);
    pendingPlaces.push(found);
    for (;;) {
      const index = pending.pop();
      const places = pendingPlaces.pop();
      if (index === undefined || places === undefined) return;
      if (seen[index] === at) continue;
      seen[index] = at;
      const step = steps[index];
      if (step === undefined) continue;
      if (step.type === 'fork') {
        pending.push(step.second, step.first);
        pendingPlaces.push(places, places);
      } else if (step.type === 'save') {
        let next = places;
        if (step.slot < places.length) {
          next = places.slice();
          next[step.slot] = at;
        }
        pending.push(index + 1);
        pendingPlaces.push(next);
      } else if (step.type === 'place') {
        if (!step.test(text, at)) continue;
        pending.push(index + 1);
        pendingPlaces.push(places);
      } else {
        ways.at.push(index);
        ways.places.push(places);
      }
    }
  };
  let current: Ways = { at: [], places: [] };
  let best: Places | undefined;
  let at = from;
  for (;;) {
    if (best === undefined && (!whole || at === from)) {
      const start = blank.slice();
      start[0] = at;
      follow(current, 0, start, at);
    }
    if (current.at.length === 0 && (best !== undefined || whole)) return best;
    const code = text.codePointAt(at);
    const after = at + (code !== undefined && code > 0xffff ? 2 : 1);
    const next: Ways = { at: [], places: [] };
    for (let way = 0; way < current.at.length; way++) {
      const index = current.at[way] ?? 0;
      const places = current.places[way] ?? blank;
      const step = steps[index];
      if (step?.type === 'match') {
        if (whole && at < text.length) continue;
        best = places.slice();
        best[1] = at;
        break;
      }
      if (step?.type === 'character' && code !== undefined && step.test(code)) follow(next, index + 1, places, after);
    }
    if (code === undefined) return best;
    current = next;
    at = after;
  }
}
