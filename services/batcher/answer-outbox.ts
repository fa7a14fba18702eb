import type { MemberId } from '#mesh/ids.ts';
import { type Answer, encodeAnswers } from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** Collects the batcher's own answers of one turn, so that each gateway gets them in one frame. */
export interface AnswerOutbox {
  add(gatewayId: MemberId, answer: Answer): void;
  /** Publishes what was collected. */
  flush(): void;
}

/** Answers in one frame, at most: error texts are short, and many of them stay far below any transport's limit. */
const ANSWERS_PER_FRAME = 500;

/** Makes an empty outbox. */
export function createAnswerOutbox(transport: Transport, subjects: Subjects): AnswerOutbox {
  const waiting = new Map<MemberId, Answer[]>();
  return {
    add(gatewayId, answer) {
      const answers = waiting.get(gatewayId);
      if (answers === undefined) waiting.set(gatewayId, [answer]);
      else answers.push(answer);
    },
    flush() {
      if (waiting.size === 0) return;
      for (const [gatewayId, answers] of waiting) {
        for (let start = 0; start < answers.length; start += ANSWERS_PER_FRAME)
          transport.publish(subjects.answer(gatewayId), encodeAnswers({ answers: answers.slice(start, start + ANSWERS_PER_FRAME) }));
      }
      waiting.clear();
    },
  };
}
