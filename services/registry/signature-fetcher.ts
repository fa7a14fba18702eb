import { utf8 } from '#mesh/bytes.ts';
import type { Clock } from '#mesh/clock.ts';
import type { SignaturesQuestion } from '#mesh/control.ts';
import { readSignaturesAnswer } from '#mesh/control-reader.ts';
import { toServeError } from '#mesh/errors.ts';
import { type MemberId, type ServableId, servableKey } from '#mesh/ids.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import type { RegistryEvents } from './events.ts';

/** Asks workers for the signatures of what they have loaded. */
export interface SignatureFetcher extends Disposable {
  /** Asks one of the workers, unless this very thing is being asked. Calls `take` when there is an answer; a failure is asked again later. */
  fetch(id: ServableId, generation: number, workers: readonly MemberId[], take: (signatures: Signatures) => void): void;
}

const TIMEOUT_MS = 2000;
const RETRY_MS = 500;

/** Makes the fetcher. Disposing it gives up questions under way; their `take` is then never called. */
export function createSignatureFetcher(deps: {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  /** Called when a failed question may be asked again. */
  readonly onRetry: () => void;
}): SignatureFetcher {
  const { transport, subjects, clock, events, onRetry } = deps;
  const stopping = new AbortController();
  const asking = new Set<string>();
  let turn = 0;

  async function ask(id: ServableId, worker: MemberId): Promise<Signatures | null> {
    try {
      const question: SignaturesQuestion = { id };
      const options = { timeoutMs: TIMEOUT_MS, signal: stopping.signal };
      const bytes = await transport.request(subjects.signatures(worker), utf8(JSON.stringify(question)), options);
      return readSignaturesAnswer(bytes).signatures;
    } catch (caught) {
      if (!stopping.signal.aborted)
        events.messageIgnored({ what: `signatures of ${servableKey(id)} from ${worker}`, error: toServeError(caught) });
      return null;
    }
  }

  return {
    fetch(id, generation, workers, take) {
      const key = `${servableKey(id)} ${generation}`;
      const worker = workers[turn++ % workers.length];
      if (worker === undefined || asking.has(key)) return;
      asking.add(key);
      void ask(id, worker).then((signatures) => {
        if (stopping.signal.aborted) return;
        if (signatures !== null) {
          asking.delete(key);
          take(signatures);
          return;
        }
        clock.schedule(RETRY_MS, () => {
          asking.delete(key);
          if (!stopping.signal.aborted) onRetry();
        });
      });
    },
    [Symbol.dispose]: () => stopping.abort(),
  };
}
