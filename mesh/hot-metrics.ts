/**
 * Counters and histograms for the path of a request. prom-client finds a metric's values by hashing its labels on every call, which costs more
 * than counting; here whoever counts holds the series of its labels. A registry prints these beside its own, in the same form.
 */
import type { Metric, Registry } from 'prom-client';

/** One line of a metric: a value under its labels. */
interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** What a registry of prom-client asks of a metric. */
abstract class HotMetric<Series> {
  readonly name: string;
  readonly help: string;
  readonly aggregator = 'sum';
  abstract readonly type: 'counter' | 'histogram';
  readonly #labelNames: readonly string[];
  /** Series by the values of the first, the second and the third label. */
  readonly #series = new Map<string, Map<string, Map<string, Series>>>();

  /** Three labels at most. */
  constructor(name: string, labelNames: readonly string[], help = name) {
    this.name = name;
    this.help = help;
    this.#labelNames = labelNames;
  }

  /** The series of these label values, in order; made when it is new, so they must come from small sets. None for a metric without labels. */
  series(first = '', second = '', third = ''): Series {
    return this.#series.get(first)?.get(second)?.get(third) ?? this.#addSeries(first, second, third);
  }

  /** For the registry: what is to be printed. */
  async get(): Promise<unknown> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.all.flatMap((series) => this.samplesOf(series)) };
  }

  /** For the registry: forgets all series. Those that are held count on, unseen. */
  reset(): void {
    this.#series.clear();
    this.all.length = 0;
  }

  #addSeries(first: string, second: string, third: string): Series {
    const values = [first, second, third];
    const made = this.createSeries(Object.fromEntries(this.#labelNames.map((name, index) => [name, values[index] ?? ''])));
    const bySecond = this.#series.get(first) ?? new Map<string, Map<string, Series>>();
    const byThird = bySecond.get(second) ?? new Map<string, Series>();
    this.#series.set(first, bySecond);
    bySecond.set(second, byThird);
    byThird.set(third, made);
    this.all.push(made);
    return made;
  }

  protected readonly all: Series[] = [];
  protected abstract createSeries(labels: Readonly<Record<string, string>>): Series;
  protected abstract samplesOf(series: Series): Sample[];
}

/** One counter of a `HotCounter`. */
export interface CounterSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** Only ever grows: whoever counts adds to it. */
  value: number;
}

/** Counts, by labels. */
export class HotCounter extends HotMetric<CounterSeries> {
  readonly type = 'counter';

  protected createSeries(labels: Readonly<Record<string, string>>): CounterSeries {
    return { labels, value: 0 };
  }

  protected samplesOf({ labels, value }: CounterSeries): Sample[] {
    return [{ labels, value }];
  }
}

/** One distribution of a `HotHistogram`. */
export class HistogramSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly bounds: Float64Array;
  /** Values in each bucket alone; the last is beyond all bounds. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(labels: Readonly<Record<string, string>>, bounds: Float64Array) {
    this.labels = labels;
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Adds a value to the first bucket whose bound it does not exceed. One that is not finite is left out: it would spoil the sum for good. */
  observe(value: number): void {
    if (!Number.isFinite(value)) return;
    const { bounds } = this;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= (bounds[middle] as number)) high = middle;
      else low = middle + 1;
    }
    this.counts[low] = (this.counts[low] as number) + 1;
    this.sum += value;
  }
}

/** Distributions of values over buckets, by labels. */
export class HotHistogram extends HotMetric<HistogramSeries> {
  readonly type = 'histogram';
  readonly #bounds: Float64Array;

  /** `bounds` are the buckets' upper bounds, ascending. */
  constructor(name: string, labelNames: readonly string[], bounds: readonly number[], help = name) {
    super(name, labelNames, help);
    this.#bounds = Float64Array.from(bounds);
  }

  protected createSeries(labels: Readonly<Record<string, string>>): HistogramSeries {
    return new HistogramSeries(labels, this.#bounds);
  }

  protected samplesOf({ labels, bounds, counts, sum }: HistogramSeries): Sample[] {
    let count = 0;
    const samples = Array.from(counts, (inBucket, index): Sample => {
      count += inBucket;
      return { metricName: `${this.name}_bucket`, labels: { le: bounds[index] ?? '+Inf', ...labels }, value: count };
    });
    samples.push({ metricName: `${this.name}_sum`, labels, value: sum }, { metricName: `${this.name}_count`, labels, value: count });
    return samples;
  }
}

/** The metric of this name in the registry, or a new one there: services in one process share theirs. */
export function hotMetric<Made extends HotCounter | HotHistogram>(
  registry: Registry,
  name: string,
  kind: abstract new (...parameters: never) => Made,
  make: () => Made,
): Made {
  const known: unknown = registry.getSingleMetric(name);
  if (known instanceof kind) return known;
  const made = make();
  registry.registerMetric(made as unknown as Metric);
  return made;
}
