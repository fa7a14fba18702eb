import { describe, expect, test } from '@jest/globals';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import type { StoredFunction, StoredNode } from '../../../savedmodel/graph.ts';
import { createErrorPlaces } from '../../../savedmodel/plan/error-place.ts';

function functionWith(name: string, nodes: readonly string[]): readonly [string, StoredFunction] {
  const stored = nodes.map((one): StoredNode => ({ name: one, op: 'NoOp', inputs: [], attrs: new Map() }));
  return [name, { name, inputs: [], outputs: [], nodes: stored, returns: new Map(), controlReturns: [], attrs: new Map() }];
}

function placeOf(name: string, from?: string): string {
  const places = createErrorPlaces(new Map([functionWith('__inference_f_1', ['ParseExample/ParseExampleV2', 'V2'])]));
  const node: FlatNode = { name, op: 'NoOp', inputs: [], controls: [], attrs: new Map(), outputCount: 1 };
  return places(from === undefined ? node : { ...node, function: from });
}

describe('the place of an error', () => {
  test.each<[string, string, string | undefined, string]>([
    ['a node of the main graph has its own name', 'ParseExample/ParseExample', undefined, '{{node ParseExample/ParseExample}}'],
    [
      'a node of a function is named as it is there, without the calls that led to it',
      'StatefulPartitionedCall_4/Call/ParseExample/ParseExampleV2',
      '__inference_f_1',
      '{{function_node __inference_f_1}}{{node ParseExample/ParseExampleV2}}',
    ],
    [
      'what keeps two nodes of one name apart is left out',
      'Call/ParseExample/ParseExampleV2#2',
      '__inference_f_1',
      '{{function_node __inference_f_1}}{{node ParseExample/ParseExampleV2}}',
    ],
    ['a node that its function does not have has its whole name', 'Call/other', '__inference_f_1', '{{node Call/other}}'],
    ['so has one of a function that is not there', 'Call/V2', 'gone', '{{node Call/V2}}'],
  ])('%s', (_, name, from, place) => {
    expect(placeOf(name, from)).toBe(place);
  });
});
