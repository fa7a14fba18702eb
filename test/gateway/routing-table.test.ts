import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { RoutedModel } from '#mesh/control.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { startRoutingTable } from '../../services/gateway/routing-table.ts';
import { settle, subjects } from './half-mesh.ts';
import { routedModel, routedVersion, startTestRegistry } from './test-registry.ts';

const a = routedModel('a', [routedVersion(1)]);
const b = routedModel('b', [routedVersion(1)]);
const c = routedModel('c', [routedVersion(1)]);

function start(models: readonly RoutedModel[] | null) {
  const clock = createFakeClock();
  const broker = createMemoryBroker();
  const registry = models === null ? undefined : startTestRegistry(broker.connect(), models);
  const troubles: string[] = [];
  const table = startRoutingTable({ transport: broker.connect(), subjects, clock, onTrouble: ({ code }) => void troubles.push(code) });
  return { clock, broker, registry, table, troubles };
}

function need<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('missing in the test');
  return value;
}

describe('routing table', () => {
  test('reads all pages at the start', async () => {
    const { table, registry } = start([a, b, c]);
    await table.whenKnown;
    expect(table.names()).toEqual(['a', 'b', 'c']);
    expect(need(registry).questions).toHaveLength(3);
  });

  test('asks again until a registry leads', async () => {
    const { table, clock, broker, troubles } = start(null);
    await clock.advance(1000);
    expect(table.known).toBe(false);
    expect(troubles.length).toBeGreaterThan(2);
    startTestRegistry(broker.connect(), [a]);
    await clock.advance(500);
    expect(table.known).toBe(true);
  });

  test('applies the next change and tells its listeners', async () => {
    const { table, registry } = start([a, b]);
    await settle();
    let told = 0;
    table.onChange(() => told++);
    need(registry).change({ models: [c], removed: ['a'] });
    await settle();
    expect(table.names()).toEqual(['b', 'c']);
    expect(table.revision).toBe(2);
    expect(told).toBe(1);
    expect(need(registry).questions).toHaveLength(2);
  });

  test('reads everything again after a gap', async () => {
    const { table, registry } = start([a, b]);
    await settle();
    need(registry).change({ removed: ['a'], quietly: true });
    need(registry).change({ models: [c] });
    await settle();
    expect(table.names()).toEqual(['b', 'c']);
    expect(table.revision).toBe(3);
  });

  test('a change that was lost is found by comparing', async () => {
    const { table, registry, clock } = start([a, b]);
    await settle();
    need(registry).change({ removed: ['a'], quietly: true });
    await clock.advance(4900);
    expect(table.names()).toEqual(['a', 'b']);
    await clock.advance(300);
    expect(table.names()).toEqual(['b']);
  });

  test('a new leadership is read whole, and the old one is not heard any more', async () => {
    const { table, registry } = start([a, b]);
    await settle();
    Object.assign(need(registry), { fencingToken: 2, revision: 1 });
    need(registry).models.delete('a');
    need(registry).publish({ fencingToken: 2, revision: 1, models: [], removed: [] });
    await settle();
    expect(table.names()).toEqual(['b']);
    need(registry).publish({ fencingToken: 1, revision: 2, models: [a], removed: [] });
    await settle();
    expect(table.names()).toEqual(['b']);
  });

  test('a change that comes while the table is read is not lost', async () => {
    const { table, registry } = start([a, b]);
    need(registry).change({ models: [c] });
    await settle();
    expect(table.names()).toEqual(['a', 'b', 'c']);
    expect(table.revision).toBe(2);
  });

  test('keeps what an unsettled leader does not know, drops what it says goes, and follows it in all once it has settled', async () => {
    const { table, registry } = start([routedModel('m', [routedVersion(3), routedVersion(2), routedVersion(1)], { stable: 2 })]);
    await table.whenKnown;
    const routable = () => table.model('m')?.versions.flatMap((one) => (one.routable ? [one.version] : []));
    const loading = routedVersion(2, { state: 'LOADING', routable: false, signatures: null });
    const going = routedVersion(1, { state: 'UNLOADING', routable: false });
    const unsettled = { ...routedModel('m', [loading, going], { canary: 3 }), unsettled: true };
    Object.assign(need(registry), { fencingToken: 2, revision: 1 });
    need(registry).models.set('m', unsettled);
    need(registry).publish({ fencingToken: 2, revision: 1, models: [unsettled], removed: [] });
    await settle();
    expect(routable()).toEqual([3, 2]);
    expect(table.model('m')?.labels).toEqual({ stable: 2, canary: 3 });
    expect(table.model('m')?.versions.find(({ version }) => version === 2)?.signatures).not.toBeNull();
    need(registry).change({ models: [{ ...unsettled, versions: [loading] }] });
    await settle();
    expect(routable()).toEqual([3, 2]);
    need(registry).change({ models: [routedModel('m', [loading])] });
    await settle();
    expect(routable()).toEqual([]);
    expect(table.model('m')?.labels).toEqual({});
  });

  test('drops a model that an unsettled leader does not name: its configuration has it no more', async () => {
    const { table, registry } = start([a, b]);
    await table.whenKnown;
    need(registry).change({ models: [{ ...routedModel('b', []), unsettled: true }], removed: ['a'] });
    await settle();
    expect(table.names()).toEqual(['b']);
    expect(table.model('b')?.versions).toEqual(b.versions);
  });

  test('keeps the last table while no registry is there', async () => {
    const { table, registry, clock } = start([a, b]);
    await settle();
    need(registry)[Symbol.dispose]();
    await clock.advance(60_000);
    expect(table.names()).toEqual(['a', 'b']);
    expect(table.known).toBe(true);
  });

  test('an update that cannot be read is reported', async () => {
    const { table, broker, troubles } = start([a]);
    await settle();
    broker.connect().publish(subjects.routing, new Uint8Array([123]));
    await settle();
    expect(troubles).toEqual(['DATA_LOSS']);
    expect(table.names()).toEqual(['a']);
  });
});
