import type { Clock, Timer } from '#mesh/clock.ts';
import type { BatchId, MemberId } from '#mesh/ids.ts';
import { decodeBatchList, encodeBatchList } from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/**
 * Asks workers which of the batches sent to them they do not have, after messages may have been lost: a batch on its way there, or its token on
 * the way back. Without that, requests would wait for their deadlines and the worker's tokens would be gone for good. The answer is exact,
 * because messages of one sender arrive in order: the worker has read all batches before the question, and its tokens come before the answer.
 */
export interface MissingBatches extends Disposable {
  /** Messages to and from this worker may have been lost until now. */
  ask(workerId: MemberId): void;
}

/** What the questions are about. */
export interface MissingBatchesOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly id: MemberId;
  /** The batches that a worker has not returned; none once it is gone. */
  readonly sentTo: (workerId: MemberId) => readonly BatchId[];
  readonly onMissing: (workerId: MemberId, batchIds: readonly BatchId[]) => void;
  readonly onUnreadable: (subject: string, problem: unknown) => void;
}

const ANSWER_WITHIN_MS = 1000;
/** Until the same is asked again that got no answer. */
const RETRY_MS = 250;

/** Makes questions; none is under way. */
export function createMissingBatches(options: MissingBatchesOptions): MissingBatches {
  const { transport, subjects, clock, id, sentTo, onMissing, onUnreadable } = options;
  /** Workers with a question under way; true: something was lost again since it was sent. */
  const asking = new Map<MemberId, boolean>();
  const retries = new Map<MemberId, Timer>();
  const stopping = new AbortController();

  async function ask(workerId: MemberId): Promise<void> {
    retries.get(workerId)?.[Symbol.dispose]();
    retries.delete(workerId);
    const batchIds = sentTo(workerId);
    if (batchIds.length === 0 || stopping.signal.aborted) return;
    asking.set(workerId, false);
    let answered = false;
    try {
      const question = encodeBatchList({ batcherId: id, batchIds });
      const answer = await transport.request(subjects.missing(workerId), question, {
        timeoutMs: ANSWER_WITHIN_MS,
        signal: stopping.signal,
      });
      answered = true;
      const asked = new Set(batchIds);
      onMissing(
        workerId,
        decodeBatchList(answer).batchIds.filter((batchId) => asked.has(batchId)),
      );
    } catch (caught) {
      // Nobody listens there yet, or the question was lost as well. A worker that does not come back loses its lease.
      if (answered) onUnreadable(subjects.missing(workerId), caught);
    }
    const again = asking.get(workerId) === true;
    asking.delete(workerId);
    if (again) void ask(workerId);
    else if (!answered && !stopping.signal.aborted) {
      retries.set(
        workerId,
        clock.schedule(RETRY_MS, () => void ask(workerId)),
      );
    }
  }

  return {
    ask(workerId) {
      if (asking.has(workerId)) asking.set(workerId, true);
      else void ask(workerId);
    },
    [Symbol.dispose]() {
      stopping.abort();
      for (const timer of retries.values()) timer[Symbol.dispose]();
      retries.clear();
    },
  };
}
