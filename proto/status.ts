/** `tensorflow.serving.StatusProto`: a status as a field of a message. */
import type { StatusReport } from '#mesh/control.ts';
import { STATUS } from '#mesh/errors.ts';
import type { WireWriter } from './wire.ts';

/** Writes a status as a field; OK is an empty message. */
export function encodeStatus(writer: WireWriter, field: number, { code, message }: StatusReport): void {
  writer.delimited(field, () => {
    if (code !== 'OK') writer.varintField(1, STATUS[code].number);
    if (message !== '') writer.stringField(2, message);
  });
}
