import type { BatchingLimits, HeldServable, ServableState, StatusReport } from '#mesh/control.ts';
import { OK_STATUS } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { UsableVersion } from './model-watch.ts';

/** All the leading registry knows of one version that is loaded, shall be, or was a moment ago. */
export interface VersionRecord {
  usable: UsableVersion;
  aspired: boolean;
  /** Of the generation that was available last; null until a worker has told. */
  signatures: Signatures | null;
  signaturesGeneration: number;
  batching: BatchingLimits | null;
  stateful: boolean;
  /** What a worker that has it says it needs; 0 until then. */
  measuredBytes: number;
  routable: boolean;
  /** When gateways were told that it is not routable, on this registry's clock; null: it never was. */
  unroutableSinceMs: number | null;
  leaving: boolean;
  unplaced: string | null;
  /** The generation each worker was told to hold. */
  readonly assigned: Map<MemberId, number>;
  /** As reported last. */
  state: ServableState;
  status: StatusReport;
}

/** What survives of a version in the state store, so that the next leader goes on without a pause. */
export interface StoredVersion {
  readonly usable: UsableVersion;
  readonly signatures: Signatures | null;
  readonly signaturesGeneration: number;
  readonly batching: BatchingLimits | null;
  readonly stateful: boolean;
  readonly routable: boolean;
}

/** A version that has come to its end. */
export interface EndedVersion {
  readonly version: number;
  readonly status: StatusReport;
}

/** The document of one model in the state store. */
export interface StoredModel {
  readonly versions: readonly StoredVersion[];
  /** What each label resolves to. */
  readonly labels: Readonly<Record<string, number>>;
  readonly ended: readonly EndedVersion[];
}

/** TF Serving's estimate of a SavedModel's memory: this many times its bytes on disk. */
const MEMORY_PER_BYTE_ON_DISK = 1.2;

/** Makes the record of a version that nobody was told to hold yet; `stored` brings back what an earlier leadership knew of it. */
export function createVersionRecord(usable: UsableVersion, stored?: StoredVersion): VersionRecord {
  return {
    usable,
    aspired: false,
    signatures: stored?.signatures ?? null,
    signaturesGeneration: stored?.signaturesGeneration ?? 0,
    batching: stored?.batching ?? null,
    stateful: stored?.stateful ?? false,
    measuredBytes: 0,
    routable: stored?.routable ?? false,
    unroutableSinceMs: null,
    leaving: false,
    unplaced: null,
    assigned: new Map(),
    state: 'START',
    status: OK_STATUS,
  };
}

/** The part of a record that goes into the state store: what `createVersionRecord` takes back. */
export function storeVersion(record: VersionRecord): StoredVersion {
  const { usable, signatures, signaturesGeneration, batching, stateful, routable } = record;
  return { usable, signatures, signaturesGeneration, batching, stateful, routable };
}

/** The memory a version needs on a worker, in bytes. */
export function neededBytes(record: VersionRecord): number {
  return record.measuredBytes > 0 ? record.measuredBytes : Math.ceil(record.usable.totalBytes * MEMORY_PER_BYTE_ON_DISK);
}

/**
 * The one state that clients are told of a version on many workers. AVAILABLE is said after it is true everywhere it must be (the version is
 * routable), UNLOADING before anything is unloaded.
 */
export function aggregateState(
  record: Pick<VersionRecord, 'aspired' | 'leaving' | 'routable' | 'unplaced'>,
  held: readonly HeldServable[],
): { readonly state: ServableState; readonly status: StatusReport } {
  const has = (state: ServableState) => held.some((one) => one.state === state);
  const failure = held.find((one) => one.state === 'END' && one.status.code !== 'OK');
  if (record.leaving) {
    const gone = !held.some((one) => one.state !== 'END');
    return { state: gone ? 'END' : 'UNLOADING', status: failure?.status ?? OK_STATUS };
  }
  // An available version may carry an error: its replaced files did not load, and the ones before them go on serving.
  const complaint = held.find((one) => one.state === 'AVAILABLE' && one.status.code !== 'OK');
  if (has('AVAILABLE')) return { state: record.routable ? 'AVAILABLE' : 'LOADING', status: complaint?.status ?? OK_STATUS };
  if (has('LOADING')) return { state: 'LOADING', status: OK_STATUS };
  if (failure) return { state: 'END', status: failure.status };
  if (record.unplaced !== null) return { state: 'END', status: { code: 'RESOURCE_EXHAUSTED', message: record.unplaced } };
  return { state: record.routable ? 'LOADING' : 'START', status: OK_STATUS };
}
