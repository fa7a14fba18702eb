import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { RegistryQuestion } from '#mesh/control.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import type { VersionChoice } from '../../services/gateway/core.ts';
import { createGatewayCore } from '../../services/gateway/gateway-core.ts';
import type { InferClient } from '../../services/gateway/infer-client.ts';
import { startRoutingTable } from '../../services/gateway/routing-table.ts';
import { floats, halfSignature, request, settle, subjects } from './half-mesh.ts';
import { routedModel, routedVersion, startTestRegistry } from './test-registry.ts';

async function startCore(registryThere = true) {
  const clock = createFakeClock();
  const broker = createMemoryBroker();
  const asked: RegistryQuestion[] = [];
  const models = [
    routedModel(
      'm',
      [
        routedVersion(7, { state: 'LOADING', routable: false, signatures: null }),
        routedVersion(5),
        routedVersion(3, { state: 'END', routable: false }),
      ],
      { stable: 5, gone: 3, constructor: 5 },
    ),
    routedModel('loading', [routedVersion(1, { state: 'LOADING', routable: false, signatures: null })]),
  ];
  if (registryThere) {
    startTestRegistry(broker.connect(), models, (question) => {
      asked.push(question);
      return question.type === 'put-model'
        ? { type: 'error', code: 'ABORTED', message: 'revision 3 is running' }
        : { type: 'config', configText: 'model_config_list {}', revision: 4 };
    });
  }
  const transport = broker.connect();
  const routing = startRoutingTable({ transport, subjects, clock, onTrouble: () => {} });
  await settle();
  let hasBatcher = true;
  let draining = false;
  const client = {
    infer: () => {
      throw new Error('not asked');
    },
    get hasBatcher() {
      return hasBatcher;
    },
  } as unknown as InferClient;
  const core = createGatewayCore({ transport, subjects, routing, client, draining: () => draining });
  return {
    core,
    asked,
    set: (change: { batcher?: boolean; draining?: boolean }) => {
      hasBatcher = change.batcher ?? hasBatcher;
      draining = change.draining ?? draining;
    },
  };
}

describe('gateway core', () => {
  test('latest is the highest version that takes requests, and always the same object', async () => {
    const { core } = await startCore();
    const found = core.resolve('m', { type: 'latest' });
    expect(found.id).toEqual({ name: 'm', version: 5 });
    expect(core.resolve('m', { type: 'label', label: 'stable' })).toBe(found);
    expect(core.resolve('m', { type: 'specific', version: 5 })).toBe(found);
  });

  test.each<[string, VersionChoice, string, string]>([
    ['nope', { type: 'latest' }, 'NOT_FOUND', 'Servable not found for request: Latest(nope)'],
    ['loading', { type: 'latest' }, 'NOT_FOUND', 'Servable not found for request: Latest(loading)'],
    ['m', { type: 'specific', version: 7 }, 'NOT_FOUND', 'Servable not found for request: Specific(m, 7)'],
    ['m', { type: 'label', label: 'gone' }, 'NOT_FOUND', 'Servable not found for request: Specific(m, 3)'],
    ['m', { type: 'label', label: 'L' }, 'INVALID_ARGUMENT', 'Unrecognized servable version label: L'],
    ['m', { type: 'label', label: 'toString' }, 'INVALID_ARGUMENT', 'Unrecognized servable version label: toString'],
    ['nope', { type: 'label', label: 'L' }, 'INVALID_ARGUMENT', 'Unrecognized servable version label: L'],
  ])('%s with %j is refused', async (model, choice, code, message) => {
    const { core } = await startCore();
    expect(() => core.resolve(model, choice)).toThrow(expect.objectContaining({ code, message }) as never);
  });

  test('refuses a signature that is only listed, and says what of it cannot be sent', async () => {
    const { core } = await startCore();
    const listed = { dtype: { number: 0, protoName: 'DT_INVALID' }, shape: null, tensorName: 'NoOp' };
    const sparse = { ...listed, sparse: { values: 'v:0', indices: 'i:0', denseShape: 's:0' } };
    const signature = { ...halfSignature, listedOnly: { inputs: { s: sparse }, outputs: { none: listed } } };
    expect(() => core.infer(request(floats([1]), { signature }))).toThrow(
      'signature serving_default is listed in the metadata and cannot be run: input s is a sparse tensor, output none is DT_INVALID',
    );
  });

  test('status tells every version, or one', async () => {
    const { core } = await startCore();
    expect(core.status('m', undefined).map(({ version, state }) => [version, state])).toEqual([
      [7, 'LOADING'],
      [5, 'AVAILABLE'],
      [3, 'END'],
    ]);
    expect(core.status('m', 3)).toEqual([{ version: 3, state: 'END', status: { code: 'OK', message: '' } }]);
    expect(() => core.status('m', 9)).toThrow('Could not find version 9 of model m');
    expect(() => core.status('nope', undefined)).toThrow('Could not find any versions of model nope');
  });

  test('is ready with a table and a batcher, until it drains', async () => {
    const { core, set } = await startCore();
    expect([core.ready(), core.modelReady('m'), core.modelReady('loading'), core.modelReady('nope')]).toEqual([true, true, false, false]);
    set({ batcher: false });
    expect(core.ready()).toBe(false);
    set({ batcher: true, draining: true });
    expect(core.ready()).toBe(false);
    expect(core.models()).toEqual(['loading', 'm']);
    expect(core.labels('m')).toEqual({ stable: 5, gone: 3, constructor: 5 });
  });

  test('questions about the configuration go to the registry, and its errors come back', async () => {
    const { core, asked } = await startCore();
    await core.reload('model_config_list {}', 100);
    expect(await core.readConfig()).toEqual({ configText: 'model_config_list {}', revision: 4 });
    await expect(core.putModel('name: "x"', 2, 100)).rejects.toMatchObject({ code: 'ABORTED', message: 'revision 3 is running' });
    await core.removeModel('x', null);
    expect(asked.map(({ type }) => type)).toEqual(['reload', 'read-config', 'put-model', 'remove-model']);
  });

  test('before the first routing table nothing is said to be missing', async () => {
    const { core } = await startCore(false);
    const noTable = expect.objectContaining({
      code: 'UNAVAILABLE',
      message: 'the gateway has no routing table yet: no registry has answered',
    });
    expect(() => core.resolve('m', { type: 'latest' })).toThrow(noTable as never);
    expect(() => core.status('m', undefined)).toThrow(noTable as never);
  });

  test('without a registry configuration is unavailable', async () => {
    const { core } = await startCore(false);
    await expect(core.readConfig()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('no registry is leading'),
    });
  });
});
