import type { BatchId } from '#mesh/ids.ts';
import type { Subscription, Transport } from '#mesh/transport.ts';

/**
 * The reply subjects of batch frames: there the transport reports that nobody took a batch. Subjects are reused, batch after batch, and each
 * has a subscription of its own, because a pattern would make an in-memory broker look at every message.
 */
export interface LossInboxes extends Disposable {
  /** A subject for the news of this batch, until it is closed. */
  open(batchId: BatchId): string;
  /** `reuse` only when no news of the batch can come any more: late news must not be taken for that of another batch. */
  close(batchId: BatchId, reuse: boolean): void;
}

interface Inbox {
  readonly subject: string;
  readonly subscription: Subscription;
  batchId: BatchId | undefined;
}

/** Makes inboxes below `prefix`; `onLoss` hears of each batch that nobody took. */
export function createLossInboxes(transport: Transport, prefix: string, onLoss: (batchId: BatchId) => void): LossInboxes {
  const free: Inbox[] = [];
  const open = new Map<BatchId, Inbox>();
  let made = 0;

  function make(): Inbox {
    const subject = `${prefix}.${++made}`;
    const inbox: Inbox = {
      subject,
      batchId: undefined,
      subscription: transport.subscribe(subject, ({ noResponders }) => {
        if (noResponders && inbox.batchId !== undefined) onLoss(inbox.batchId);
      }),
    };
    return inbox;
  }

  return {
    open(batchId) {
      const inbox = free.pop() ?? make();
      inbox.batchId = batchId;
      open.set(batchId, inbox);
      return inbox.subject;
    },
    close(batchId, reuse) {
      const inbox = open.get(batchId);
      if (inbox === undefined) return;
      open.delete(batchId);
      inbox.batchId = undefined;
      if (reuse) free.push(inbox);
      else inbox.subscription[Symbol.dispose]();
    },
    [Symbol.dispose]() {
      for (const { subscription } of [...free, ...open.values()]) subscription[Symbol.dispose]();
      free.length = 0;
      open.clear();
    },
  };
}
