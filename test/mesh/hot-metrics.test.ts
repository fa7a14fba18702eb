import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Counter, Histogram, Registry } from 'prom-client';
import { HotCounter, HotHistogram, hotMetric } from '#mesh/hot-metrics.ts';

const LABELS = ['model', 'API'];
const BOUNDS = [10, 18, 32.4, 1000];

describe('hot metrics', () => {
  test('print what prom-client prints for the same values', async () => {
    const sample = fc.record({
      model: fc.constantFrom('a', 'b"\\\n'),
      api: fc.constantFrom('', 'Predict'),
      value: fc.oneof(fc.constantFrom(0, ...BOUNDS, -1, 1e9), fc.double({ min: 0, max: 2000, noNaN: true })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(sample), async (samples) => {
        const [theirs, ours] = [new Registry(), new Registry()];
        const counter = new Counter({ name: 'n', help: 'n', labelNames: LABELS, registers: [theirs] });
        const histogram = new Histogram({ name: 'h', help: 'h', labelNames: LABELS, buckets: BOUNDS, registers: [theirs] });
        const hotCounter = hotMetric(ours, 'n', HotCounter, () => new HotCounter('n', LABELS));
        const hotHistogram = hotMetric(ours, 'h', HotHistogram, () => new HotHistogram('h', LABELS, BOUNDS));
        for (const { model, api, value } of samples) {
          counter.labels(model, api).inc();
          histogram.labels(model, api).observe(value);
          hotCounter.series(model, api).value++;
          hotHistogram.series(model, api).observe(value);
        }
        expect(await ours.metrics()).toBe(await theirs.metrics());
        expect(await ours.getMetricsAsJSON()).toHaveLength(2);
      }),
      { numRuns: 50 },
    );
  });

  test('one name in one registry is one metric', () => {
    const registry = new Registry();
    const make = () => new HotCounter('n', LABELS);
    expect(hotMetric(registry, 'n', HotCounter, make)).toBe(hotMetric(registry, 'n', HotCounter, make));
  });

  test('leaves out what is not finite', async () => {
    const histogram = new HotHistogram('h', LABELS, BOUNDS);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3]) histogram.series('a', 'b').observe(value);
    expect(histogram.series('a', 'b').sum).toBe(3);
  });

  test('start over when the registry resets its metrics', async () => {
    const registry = new Registry();
    const counter = hotMetric(registry, 'n', HotCounter, () => new HotCounter('n', LABELS));
    counter.series('a', 'b').value++;
    registry.resetMetrics();
    expect(await registry.metrics()).not.toContain('model="a"');
    expect(counter.series('a', 'b').value).toBe(0);
  });
});
