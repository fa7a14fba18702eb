import type { Claim } from '#mesh/blobs.ts';
import { toServeError } from '#mesh/errors.ts';
import type { MemberId } from '#mesh/ids.ts';
import { type Answer, encodeAnswers, type WireTensor } from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import { copyBytes, type Transport } from '#mesh/transport.ts';
import type { RunOutput } from './run-tensors.ts';

/** An answer and the gateway that waits for it. */
export interface AddressedAnswer {
  readonly gatewayId: MemberId;
  readonly answer: Answer;
}

/** What a sender is made with. */
export interface AnswerSenderOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  /** Outputs above this stay here, and a claim on them travels. */
  readonly inlineTensorBytes: number;
  readonly hold: (bytes: Uint8Array) => Claim;
  /** An answer could not be sent: its gateway will ask again, or its caller run out of time. */
  readonly onUnsent: (gatewayId: MemberId, error: Error) => void;
}

/** Puts outputs into wire form and answers into frames. */
export interface AnswerSender {
  /**
   * Outputs as they travel. Inline ones stay views of `tensors`, so `send` must follow before those change; so do large ones that last, and the
   * others are copied.
   */
  wire(tensors: readonly RunOutput[]): WireTensor[];
  /** Sends one frame to each gateway, or several where one would exceed the transport's limit. Copies everything it sends. */
  send(answers: readonly AddressedAnswer[]): void;
}

/** Makes a sender. */
export function createAnswerSender(options: AnswerSenderOptions): AnswerSender {
  const { transport, subjects, inlineTensorBytes, hold, onUnsent } = options;
  /** Left free for everything in a frame that is not a tensor's bytes. */
  const frameBytes = Math.floor(transport.maxPayloadBytes * 0.75);

  function publish(gatewayId: MemberId, answers: readonly Answer[]): void {
    try {
      transport.publish(subjects.answer(gatewayId), encodeAnswers({ answers }));
    } catch (caught) {
      onUnsent(gatewayId, toServeError(caught));
    }
  }

  return {
    wire(tensors) {
      let inlineBytes = 0;
      return tensors.map(({ name, dtype, shape, bytes, lasting }): WireTensor => {
        const fits = bytes.byteLength <= inlineTensorBytes && inlineBytes + bytes.byteLength <= frameBytes;
        if (!fits)
          return {
            name,
            dtype,
            shape,
            payload: { type: 'claim', ...hold(lasting && isMostOfItsMemory(bytes) ? bytes : copyBytes(bytes)) },
          };
        inlineBytes += bytes.byteLength;
        return { name, dtype, shape, payload: { type: 'inline', bytes } };
      });
    },
    send(answers) {
      const byGateway = new Map<MemberId, Answer[]>();
      for (const { gatewayId, answer } of answers) {
        const own = byGateway.get(gatewayId);
        if (own) own.push(answer);
        else byGateway.set(gatewayId, [answer]);
      }
      for (const [gatewayId, own] of byGateway) {
        let frame: Answer[] = [];
        let size = 0;
        for (const answer of own) {
          const bytes = sizeOf(answer);
          if (frame.length > 0 && size + bytes > frameBytes) {
            publish(gatewayId, frame);
            frame = [];
            size = 0;
          }
          frame.push(answer);
          size += bytes;
        }
        publish(gatewayId, frame);
      }
    },
  };
}

/** False for the few rows of a batch that would keep the memory of all its rows. */
function isMostOfItsMemory(bytes: Uint8Array): boolean {
  return 2 * bytes.byteLength >= bytes.buffer.byteLength;
}

/** About what an answer takes in a frame, in bytes. */
function sizeOf(answer: Answer): number {
  if (answer.type === 'error') return 64 + answer.message.length * 3;
  return answer.outputs.reduce(
    (sum, { name, shape, payload }) =>
      sum + 64 + 3 * name.length + 8 * shape.length + (payload.type === 'inline' ? payload.bytes.byteLength : 0),
    160,
  );
}
