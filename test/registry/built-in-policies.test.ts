import { describe, expect, test } from '@jest/globals';
import type { PolicyAction, VersionSnapshot } from '../../extend/sources.ts';
import { availabilityPreserving, resourcePreserving } from '../../services/registry/built-in-policies.ts';
import { type FleetPolicy, planTransitions } from '../../services/registry/plan-transitions.ts';

/** A version from `2+new` (aspired), `1-available` (not aspired) or `1-available/partly` (not on all the workers it needs). */
function snapshot(text: string): VersionSnapshot {
  const [, version, sign, state, partly] = /^(\d+)([+-])(\w+)(\/partly)?$/.exec(text) ?? [];
  return {
    version: Number(version),
    aspired: sign === '+',
    state: state as VersionSnapshot['state'],
    complete: state === 'available' && partly === undefined,
  };
}

const snapshots = (text: string) => text.split(' ').map(snapshot);
const inShort = (action: PolicyAction) => (action === null ? 'nothing' : `${action.type} ${action.version}`);

// What TF Serving's two policies are tested for, and what a fleet adds to it.
test.each<[string, string, string]>([
  ['1+new', 'load 1', 'load 1'],
  ['3+new 2+new 1+available', 'load 3', 'load 3'],
  ['2+new 1-available', 'load 2', 'unload 1'],
  ['2+loading 1-available', 'nothing', 'unload 1'],
  ['2+available 1-available', 'unload 1', 'unload 1'],
  ['2+available 1-unloading', 'nothing', 'nothing'],
  ['3+new 2-available 1-available', 'unload 1', 'unload 1'],
  ['3+new 2-available/partly 1-available', 'load 3', 'unload 1'],
  ['3+available 2-available/partly 1-available', 'unload 1', 'unload 1'],
  ['2-available 1+available', 'unload 2', 'unload 2'],
  ['2-available 1-available', 'unload 1', 'unload 1'],
  ['2+new 1-unloading', 'load 2', 'nothing'],
  ['2+new 1-error', 'load 2', 'load 2'],
  ['2+error 1-available', 'nothing', 'unload 1'],
  ['2+available 1+available', 'nothing', 'nothing'],
])('of %s availability_preserving wants: %s; resource_preserving: %s', (text, availability, resource) => {
  const versions = snapshots(text);
  expect(inShort(availabilityPreserving(versions))).toBe(availability);
  expect(inShort(resourcePreserving(versions))).toBe(resource);
});

describe('a plan of transitions', () => {
  /** Plans with a policy that wants these actions, one after another, and reports what was refused. */
  function plan(text: string, wanted: readonly (PolicyAction | 'undecided')[], awaiting = false) {
    const refused: string[] = [];
    const asked: string[] = [];
    const policy: FleetPolicy = {
      next(_, versions) {
        asked.push(versions.map(({ state }) => state).join(' '));
        return wanted[asked.length - 1] ?? null;
      },
      refused: (_, action, why) => void refused.push(`${inShort(action)}: ${why}`),
      roomFirst: false,
    };
    const { load, unload } = planTransitions({ name: 'm', awaiting, versions: snapshots(text) }, policy, availabilityPreserving);
    return { load: [...load], unload: [...unload], refused, asked };
  }
  const load = (version: number) => ({ type: 'load', version }) as const;
  const unload = (version: number) => ({ type: 'unload', version }) as const;

  test('asks until nothing is wanted, and shows what was wanted before as under way', () => {
    expect(plan('3+new 2-available 1-available', [unload(1), load(3), null])).toEqual({
      load: [3],
      unload: [1],
      refused: [],
      asked: ['new available available', 'new available unloading', 'loading available unloading'],
    });
  });

  test('does nothing while the policy has not decided', () => {
    expect(plan('2+new 1-available', ['undecided'])).toMatchObject({ load: [], unload: [], refused: [] });
  });

  test.each<[string, PolicyAction, string]>([
    ['2+new 1-available', load(7), 'load 7: there is no version 7'],
    ['2+new 1-available', load(1), 'load 1: version 1 is not aspired'],
    ['2+loading 1-available', load(2), 'load 2: version 2 is loading, not new'],
    ['2+available 1-available', unload(2), 'unload 2: version 2 is aspired'],
    ['2+available 1-unloading', unload(1), 'unload 1: version 1 is unloading, not available'],
    ['2+new 1+error', null, 'nothing: none of its versions is loaded or on its way'],
  ])('of %s refuses %j, and lets availability_preserving decide', (text, wanted, why) => {
    const { load: loaded, unload: unloaded, refused } = plan(text, [wanted]);
    expect(refused).toEqual([why]);
    const instead = availabilityPreserving(snapshots(text));
    expect([...loaded, ...unloaded]).toEqual(instead === null ? [] : [instead.version]);
  });

  test('unloads nothing without a complete successor while a version is awaited', () => {
    expect(plan('2+new 1-available', [unload(1), load(2)], true)).toMatchObject({ unload: [], load: [], refused: [] });
    expect(plan('2+available 1-available', [unload(1)], true)).toMatchObject({ unload: [1] });
  });
});
