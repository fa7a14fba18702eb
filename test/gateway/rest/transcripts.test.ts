import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type RestHarness, startHarness } from './rest-harness.ts';

interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly body: string | null;
  readonly req_headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

const file = new URL('../../../../shared/conformance/tfs-rest.jsonl', import.meta.url);
const recorded: readonly Recorded[] = existsSync(file)
  ? readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Recorded)
  : [];

/** Answers that a model's graph, the examples API, the routing table or the list of models decides, not the edge. */
function isDecidedElsewhere({ path, text }: Recorded): boolean {
  return path.endsWith('/metadata') || /ParseExample|inputs found in SignatureDef/.test(text);
}

if (recorded.length === 0) {
  test.skip('answers as TensorFlow Serving did: ../shared/conformance/tfs-rest.jsonl is absent', () => {});
} else {
  describe('answers as TensorFlow Serving did', () => {
    let harness: RestHarness;
    beforeAll(async () => {
      harness = await startHarness({ metricsPath: '/monitoring/prometheus/metrics' });
    });
    afterAll(async () => {
      await harness[Symbol.asyncDispose]();
    });

    const mine = recorded.filter((one) => !isDecidedElsewhere(one));
    test.each(mine.map((one) => [`${one.method} ${one.path} ${(one.body ?? '').slice(0, 80)}`, one] as const))(
      '%s',
      async (_title, one) => {
        const answer = await harness.ask(one.method, one.path, one.body, one.req_headers);
        expect(answer.status).toBe(one.status);
        // Objects by output name have no order of their own in TensorFlow Serving; the text is compared where there is one order.
        if (!/^\{\n {4}"(predictions|outputs)": (\[\n {8})?\{/.test(one.text)) expect(answer.text).toBe(one.text);
        else expect(JSON.parse(answer.text)).toEqual(JSON.parse(one.text));
        expect(answer.headers['content-type']).toBe(one.headers['content-type']);
      },
    );
  });
}
