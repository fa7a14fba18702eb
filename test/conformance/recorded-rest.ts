import type { RunningMesh } from '../embedded/running-mesh.ts';
import { readTranscript } from './transcripts.ts';

/** A REST request and what the real server answered. */
export interface RecordedRest {
  readonly method: string;
  readonly path: string;
  readonly body?: string | null;
  readonly req_headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** The recordings of one file with names for tests: place, request line and the body's first characters. */
export function restRecordings(file: string): [string, RecordedRest][] {
  return readTranscript<RecordedRest>(file).map((entry, index) => [
    `${index} ${entry.method} ${entry.path} ${(entry.body ?? '').slice(0, 60)}`,
    entry,
  ]);
}

/** Sends a recorded request again. */
export function replayRest(mesh: RunningMesh, { method, path, body, req_headers }: RecordedRest): ReturnType<RunningMesh['send']> {
  return mesh.send(method, path, body ?? undefined, req_headers);
}
