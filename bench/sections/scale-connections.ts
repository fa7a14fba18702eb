import { decodePredictResponse } from '#proto/predict.ts';
import { checkEach } from '../load/answer-check.ts';
import { callOnce, PREDICT_PATH, runGrpc } from '../load/grpc-load.ts';
import type { LoadResult } from '../load/result.ts';
import { runWrk } from '../load/wrk.ts';
import { HALF } from '../models/nets.ts';
import { grpcRequest, sampleTensor } from '../models/payloads.ts';
import type { Picture } from '../picture.ts';
import { lookAt } from '../process-figures.ts';
import { median } from '../rounds.ts';
import { type BenchRow, type BenchSection, type Growth, perSecond } from '../section.ts';
import { type HeadraceServer, processNamed, startEmbedded, startMesh } from '../servers.ts';
import {
  amountText,
  COST_TEXT,
  type CostedResult,
  costOf,
  KNOWN_HALF,
  type LoadFigures,
  loadCells,
  pause,
  summarised,
  turnsOf,
} from './scale.ts';

const COUNTS = [1, 4, 16, 64, 256, 1024];
const WARM_UP_CONNECTIONS = 32;
const WARM_UP_SECONDS = 2;
/** The share of a turn after which memory is looked at. */
const LOOK_AT_SHARE = 0.8;

/** Who is asked, and how. */
interface Subject {
  readonly name: string;
  readonly server: HeadraceServer;
  /** The process that has the clients' connections. */
  readonly edge: number;
  load(server: HeadraceServer, connections: number, seconds: number): Promise<LoadResult>;
}

/** What one number of connections came to. */
interface Point {
  readonly subject: string;
  readonly connections: number;
  readonly load: LoadFigures;
  readonly edgeMB: number;
}

/** More connections, each with one request in flight. */
export const SCALE_CONNECTIONS: BenchSection = {
  name: 'scale-connections',
  about: '1 to 1024 connections over REST and gRPC, embedded and mesh',
  needsWrk: true,
  needsMesh: true,
  async run(context) {
    await using embedded = await startEmbedded([HALF], context.servers);
    await using mesh = await startMesh([HALF], context.servers);
    const subjects = [embedded, mesh].flatMap((server): Subject[] => {
      const [name, edge] =
        server === mesh ? ['mesh', processNamed(mesh, 'gateway').pid] : ['embedded', processNamed(embedded, 'embedded').pid];
      return [
        { name: `${name}, REST`, server, edge, load: restLoad },
        { name: `${name}, gRPC`, server, edge, load: grpcLoad },
      ];
    });
    const turns = turnsOf(context);
    for (const { server, load } of subjects) {
      await checkEach(server.restPort, [KNOWN_HALF]);
      await checkGrpc(server.grpcPort);
      await load(server, WARM_UP_CONNECTIONS, Math.min(WARM_UP_SECONDS, context.seconds));
    }
    const found = new Map<string, { readonly results: CostedResult[]; readonly edgeMB: number[] }>();
    const counts = COUNTS.filter((one) => one <= context.most);
    for (let turn = 0; turn < turns.count; turn++) {
      for (const connections of counts) {
        for (const { name, server, edge, load } of subjects) {
          const looked = pause(turns.seconds * 1000 * LOOK_AT_SHARE).then(() => lookAt(edge).rssMB);
          const [result, edgeMB] = await Promise.all([
            costOf(server, [KNOWN_HALF], () => load(server, connections, turns.seconds)),
            looked,
          ]);
          const key = `${connections} ${name}`;
          const before = found.get(key) ?? { results: [], edgeMB: [] };
          found.set(key, { results: [...before.results, result], edgeMB: [...before.edgeMB, edgeMB] });
        }
      }
    }
    for (const { server } of subjects) await checkGrpc(server.grpcPort);
    const points = counts.flatMap((connections) =>
      subjects.map(({ name }): Point => {
        const { results, edgeMB } = found.get(`${connections} ${name}`) ?? { results: [], edgeMB: [] };
        return { subject: name, connections, load: summarised(results), edgeMB: median(edgeMB) };
      }),
    );
    return { rows: summaryRows(points), growth: growthOf(points) };
  },
};

function restLoad({ restPort }: HeadraceServer, connections: number, seconds: number): Promise<LoadResult> {
  const url = `http://127.0.0.1:${restPort}/v1/models/${HALF.name}:predict`;
  return runWrk({ url, body: '{"instances": [1.0]}', connections, seconds });
}

function grpcLoad({ grpcPort: port }: HeadraceServer, connections: number, seconds: number): Promise<LoadResult> {
  return runGrpc({ port, path: PREDICT_PATH, message: grpcRequest(HALF, 1), connections, streams: 1, seconds });
}

/** Calls Predict once. Rejects when the answer is wrong. */
async function checkGrpc(port: number): Promise<void> {
  const first = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
  const x = first(sampleTensor(HALF, 1).bytes);
  const { outputs } = decodePredictResponse(await callOnce(port, PREDICT_PATH, grpcRequest(HALF, 1)));
  const y = outputs.get('y');
  if (y === undefined || Math.abs(first(y.bytes) - KNOWN_HALF.truth(x)) > 1e-6)
    throw new Error(
      `${HALF.name} answered ${y === undefined ? 'no y' : first(y.bytes)} over gRPC for ${x}, expected ${KNOWN_HALF.truth(x)}`,
    );
}

function summaryRows(points: readonly Point[]): readonly BenchRow[] {
  return [...new Set(points.map(({ subject }) => subject))].flatMap((subject) => {
    const own = points.filter((point) => point.subject === subject);
    const best = own.reduce((one, other) => (other.load.perSecond > one.load.perSecond ? other : one));
    const last = own.at(-1);
    if (last === undefined) return [];
    return [
      {
        path: `${subject}, ${last.connections} connections`,
        values: [
          perSecond(last.load.perSecond),
          `p50 ${amountText(last.load.p50Ms)} ms`,
          `p99 ${amountText(last.load.p99Ms)} ms`,
          `at best ${perSecond(best.load.perSecond)} with ${best.connections}`,
        ],
        figure: last.load.perSecond / best.load.perSecond,
        unit: 'x',
        of: 'of the best number of connections',
        target: null,
      },
    ];
  });
}

function growthOf(points: readonly Point[]): Growth {
  return {
    question: 'More connections',
    text: `${HALF.what}, a single row a request, one request in flight on each connection, so latency is connections over requests/s once the machine is busy. Memory
is that of the process which holds the connections: the gateway of the mesh, or all of embedded.
${COST_TEXT}`,
    columns: [
      'connections',
      'served',
      'requests/s',
      'p50, ms',
      'p99, ms',
      'processor time a request, µs',
      'RSS of gateway or embedded, MB',
    ],
    rows: points.map(({ connections, subject, load, edgeMB }) => [
      connections.toLocaleString('en-US'),
      subject,
      ...loadCells(load),
      amountText(edgeMB),
    ]),
    picture: pictureOf(points),
  };
}

function pictureOf(points: readonly Point[]): Picture {
  const panel = (title: string, y: (point: Point) => number) => ({
    title,
    scale: 'log' as const,
    series: [...new Set(points.map(({ subject }) => subject))].map((subject) => ({
      name: subject,
      points: points.filter((one) => one.subject === subject).map((one) => [one.connections, y(one)] as const),
    })),
  });
  return {
    title: 'More connections: throughput, latency and memory',
    xTitle: 'connections',
    xScale: 'log',
    panels: [
      panel('requests/s', ({ load }) => load.perSecond),
      panel('memory of gateway or embedded, MB', ({ edgeMB }) => edgeMB),
      panel('p50, ms', ({ load }) => load.p50Ms),
      panel('p99, ms', ({ load }) => load.p99Ms),
    ],
  };
}
