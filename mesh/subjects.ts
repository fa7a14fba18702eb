import type { MemberId } from './ids.ts';

/** Every subject of the mesh, by who listens there. `root` separates meshes that share a broker; it is a setting (`--mesh_name`). */
export function createSubjects(root: string) {
  return {
    /** Heartbeats of all members: see `presence.ts`. */
    presence: `${root}.presence`,
    /** A member answers what it announces: see `presence.ts`. */
    describe: (member: MemberId) => `${root}.member.${member}.describe`,
    /** SubmitFrames for one batcher. */
    submit: (batcher: MemberId) => `${root}.batcher.${batcher}.submit`,
    /** CancelFrames for one batcher. */
    cancel: (batcher: MemberId) => `${root}.batcher.${batcher}.cancel`,
    /** ReadyFrames for one batcher. */
    ready: (batcher: MemberId) => `${root}.batcher.${batcher}.ready`,
    /** BatchFrames for one worker. */
    batch: (worker: MemberId) => `${root}.worker.${worker}.batch`,
    /** CancelFrames for one worker. */
    drop: (worker: MemberId) => `${root}.worker.${worker}.drop`,
    /** A worker answers which batches of a BatchList it does not have. */
    missing: (worker: MemberId) => `${root}.worker.${worker}.missing`,
    /** Assignments for one worker (JSON): see `control.ts`. */
    assign: (worker: MemberId) => `${root}.worker.${worker}.assign`,
    /** A worker answers the signatures of one servable (JSON): see `control.ts`. */
    signatures: (worker: MemberId) => `${root}.worker.${worker}.signatures`,
    /** AnswerFrames for one gateway. */
    answer: (gateway: MemberId) => `${root}.gateway.${gateway}.answer`,
    /** InferCalls of workers, for any gateway: see `infer-call.ts`. */
    call: `${root}.call`,
    /** What gateways answer to one InferCall of a worker. */
    callReply: (worker: MemberId, call: number | '*') => `${root}.worker.${worker}.call.${call}`,
    /** A worker waits no more for the answer of an InferCall: every gateway hears it. */
    callCancel: `${root}.call.cancel`,
    /** Chunks of a held blob: see `blobs.ts`. */
    blob: (holder: MemberId) => `${root}.member.${holder}.blob`,
    /** A holder of blobs answers where it can be reached directly: see `blobs-direct.ts`. */
    blobDoor: (holder: MemberId) => `${root}.member.${holder}.blob.door`,
    /** Routing updates from the leading registry to all gateways and batchers (JSON): see `control.ts`. */
    routing: `${root}.routing`,
    /** Questions to the leading registry (JSON): see `control.ts`. */
    registry: `${root}.registry.ask`,
  };
}

/** The subjects of one mesh. */
export type Subjects = ReturnType<typeof createSubjects>;
