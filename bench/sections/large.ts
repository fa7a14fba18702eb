import { readFileSync } from 'node:fs';
import { encodePredictRequest } from '#proto/predict.ts';
import { grpcCall, type LargeCall, restCall, runCalls } from '../load/large-load.ts';
import type { LoadResult } from '../load/result.ts';
import { PICTURE_FLOATS, putLargeModels } from '../models/large-models.ts';
import { lookAt } from '../process-figures.ts';
import { interleave, median } from '../rounds.ts';
import { type BenchRow, type BenchSection, milliseconds, perSecond } from '../section.ts';
import { type HeadraceServer, startEmbedded, startMesh } from '../servers.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const PICTURES_IN_FLIGHT = 4;
const HUGE_FLOATS = 25_000_000;
const HUGE_MB = (4 * HUGE_FLOATS) / 1e6;
/** So that the gateway and the worker fetch from each other over NATS alone. */
const NATS_ONLY = { workerFlags: ['--tensor_port=-1'] };

type Subject = 'embedded' | 'mesh' | 'overNats';
const PROTOCOLS = ['raw', 'JSON', 'gRPC'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Pictures and a tensor of 100 MB, in one process, in a mesh, and in a mesh whose members reach each other by NATS alone. */
export const LARGE: BenchSection = {
  name: 'large',
  about: '224x224x3 pictures and 100 MB tensors: embedded, mesh, mesh without direct connections',
  needsWrk: false,
  needsMesh: true,
  async run({ rounds, seconds, servers, say }) {
    using folder = temporaryFolder();
    const models = putLargeModels(folder.path);
    await using embedded = await startEmbedded(models, servers);
    await using mesh = await startMesh(models, servers);
    await using overNats = await startMesh(models, servers, NATS_ONLY);
    const all: Readonly<Record<Subject, HeadraceServer>> = { embedded, mesh, overNats };
    const rows: BenchRow[] = [];
    for (const protocol of PROTOCOLS) {
      const input = floats(PICTURE_FLOATS);
      using calls = callAll(all, (server) => predictCall(server, protocol, { model: 'picture', shape: [1, 224, 224, 3], input }));
      const load = (subject: Subject) => () => measure(all[subject], calls[subject], PICTURES_IN_FLIGHT, seconds);
      const subjects = { embedded: load('embedded'), mesh: load('mesh'), overNats: load('overNats') };
      await interleave(subjects, 1); // warms the compilers up, and opens connections
      rows.push(pictureRow(protocol, await interleave(subjects, rounds)));
    }
    say('  100 MB');
    const input = floats(HUGE_FLOATS);
    const hugeRounds = Math.max(2, rounds);
    for (const protocol of ['raw', 'gRPC'] as const) {
      using calls = callAll(all, (server) => predictCall(server, protocol, { model: 'echo', shape: [1, HUGE_FLOATS], input }));
      const once = (subject: Subject) => () => measure(all[subject], calls[subject], 1, 0);
      const subjects = { embedded: once('embedded'), mesh: once('mesh'), overNats: once('overNats') };
      await interleave(subjects, 1);
      rows.push(hugeRow(protocol, await interleave(subjects, hugeRounds)));
    }
    return [...rows, peakRow('embedded', embedded, 'embedded'), peakRow('gateway', mesh, 'mesh'), peakRow('worker-gpu', mesh, 'mesh')];
  },
};

interface Measured extends LoadResult {
  /** Of all processes of the server, nats-server too, for one request. */
  readonly cpuMs: number;
}

type Results = Readonly<Record<Subject, readonly Measured[]>>;

async function measure({ processes }: HeadraceServer, call: LargeCall, inFlight: number, seconds: number): Promise<Measured> {
  const cpuSeconds = () => processes.reduce((sum, { pid }) => sum + lookAt(pid).cpuSeconds, 0);
  const before = cpuSeconds();
  const result = await runCalls(call, inFlight, seconds);
  return { ...result, cpuMs: ((cpuSeconds() - before) * 1000) / result.requests };
}

function pictureRow(protocol: Protocol, results: Results): BenchRow {
  const rate = (subject: Subject) => median(results[subject].map((one) => one.perSecond));
  const text = (name: string, subject: Subject) =>
    `${name} ${perSecond(rate(subject))}, p50 ${milliseconds(median(results[subject].map((one) => one.p50Ms)))}, CPU ${milliseconds(cpuMs(results, subject))}`;
  return {
    path: `224x224x3 picture, ${protocol}, ${PICTURES_IN_FLIGHT} in flight, through the mesh`,
    values: [text('embedded', 'embedded'), text('mesh', 'mesh'), text('mesh over NATS alone', 'overNats')],
    figure: rate('mesh'),
    unit: '/s',
    of: '',
    target: null,
  };
}

function hugeRow(protocol: Protocol, results: Results): BenchRow {
  const tookMs = (subject: Subject) => median(results[subject].map((one) => one.p50Ms));
  const text = (name: string, subject: Subject) =>
    `${name} ${Math.round((HUGE_MB * 1000) / tookMs(subject))} MB/s, CPU ${milliseconds(cpuMs(results, subject))}`;
  return {
    path: `${HUGE_MB} MB there and back, ${protocol}, through the mesh`,
    values: [text('embedded', 'embedded'), text('mesh', 'mesh'), text('mesh over NATS alone', 'overNats')],
    figure: tookMs('mesh') / 1000,
    unit: 's',
    of: '',
    target: null,
  };
}

function cpuMs(results: Results, subject: Subject): number {
  return median(results[subject].map((one) => one.cpuMs));
}

/** The most that a process ever had in memory: all of the above went through it, one tensor of 100 MB at a time. */
function peakRow(name: string, { processes }: HeadraceServer, shape: string): BenchRow {
  const found = processes.find((one) => one.name === name);
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${found?.pid}/status`, 'utf8'))?.[1];
  return {
    path: `peak memory of the ${name} process (${shape})`,
    values: [],
    figure: Number(kilobytes) / 1024,
    unit: 'MB',
    of: '',
    target: null,
  };
}

/** One call of each server. */
function callAll(
  servers: Readonly<Record<Subject, HeadraceServer>>,
  make: (server: HeadraceServer) => LargeCall,
): Disposable & Readonly<Record<Subject, LargeCall>> {
  const stack = new DisposableStack();
  const [embedded, mesh, overNats] = [stack.use(make(servers.embedded)), stack.use(make(servers.mesh)), stack.use(make(servers.overNats))];
  return { embedded, mesh, overNats, [Symbol.dispose]: () => stack.dispose() };
}

interface Ask {
  readonly model: string;
  readonly shape: readonly number[];
  readonly input: Float32Array<ArrayBuffer>;
}

function predictCall({ restPort, grpcPort }: HeadraceServer, protocol: Protocol, { model, shape, input }: Ask): LargeCall {
  const bytes = new Uint8Array(input.buffer);
  const path = `/v1/models/${model}:predict`;
  if (protocol === 'raw') {
    const type = 'application/octet-stream';
    const tensors = JSON.stringify({ inputs: [{ name: 'x', dtype: 'DT_FLOAT', shape }] });
    return restCall(restPort, path, bytes, { 'content-type': type, accept: type, 'x-headrace-tensors': tensors });
  }
  if (protocol === 'JSON') {
    const body = Buffer.from(`{"instances":${JSON.stringify(nest([...input], shape))}}`);
    return restCall(restPort, path, body, { 'content-type': 'application/json' });
  }
  const spec = { name: model, version: null, label: null, signatureName: '' };
  return grpcCall(grpcPort, encodePredictRequest(spec, new Map([['x', { dtype: 'float', shape, bytes }]]), { tensorContent: true }));
}

/** Floats between 0 and 1 with up to eight digits. */
function floats(count: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) values[index] = ((index * 7919) % 65_521) / 65_521;
  return values;
}

function nest(values: readonly number[], shape: readonly number[]): unknown {
  const [outer = 0, ...inner] = shape;
  if (inner.length === 0) return values.map((value) => Number(value.toFixed(8)));
  const size = values.length / outer;
  return Array.from({ length: outer }, (_, index) => nest(values.slice(index * size, (index + 1) * size), inner));
}
