import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import type { Message, Transport } from '#mesh/transport.ts';

/** Two connections to one broker. */
export interface TransportPair extends AsyncDisposable {
  readonly here: Transport;
  readonly there: Transport;
}

/** What `mesh/transport.ts` promises, run over an implementation. */
export function transportContract(name: string, connect: () => Promise<TransportPair>): void {
  describe(`transport contract: ${name}`, () => {
    let pair: TransportPair;
    let tag = 0;
    beforeAll(async () => {
      pair = await connect();
    });
    afterAll(async () => {
      await pair[Symbol.asyncDispose]();
    });
    const subject = () => `test.s${++tag}`;
    const arrived = async (transports: readonly Transport[] = [pair.here, pair.there]) => {
      for (let round = 0; round < 2; round++) for (const transport of transports) await transport.flush();
    };

    test('delivers messages of one publisher in order, to every subscriber', async () => {
      const on = subject();
      const first: string[] = [];
      const second: string[] = [];
      using _a = pair.there.subscribe(on, (message) => first.push(fromUtf8(message.data)));
      using _b = pair.here.subscribe(on, (message) => second.push(fromUtf8(message.data)));
      await arrived();
      for (let index = 0; index < 100; index++) pair.here.publish(on, utf8(String(index)));
      await arrived();
      const wanted = Array.from({ length: 100 }, (_, index) => String(index));
      expect(first).toEqual(wanted);
      expect(second).toEqual(wanted);
    });

    test('gives each message to one member of a group', async () => {
      const on = subject();
      const seen: string[] = [];
      using _a = pair.here.subscribe(on, (message) => seen.push(fromUtf8(message.data)), { group: 'g' });
      using _b = pair.there.subscribe(on, (message) => seen.push(fromUtf8(message.data)), { group: 'g' });
      await arrived();
      for (let index = 0; index < 50; index++) pair.here.publish(on, utf8(String(index)));
      await arrived();
      expect(seen.length).toBe(50);
      expect(new Set(seen).size).toBe(50);
    });

    test('matches one token with * and the rest with >', async () => {
      const root = subject();
      const one: string[] = [];
      const rest: string[] = [];
      using _a = pair.there.subscribe(`${root}.*.end`, (message) => one.push(message.subject));
      using _b = pair.there.subscribe(`${root}.>`, (message) => rest.push(message.subject));
      await arrived();
      for (const tail of ['a.end', 'a.b.end', 'a']) pair.here.publish(`${root}.${tail}`, new Uint8Array(1));
      await arrived();
      expect(one).toEqual([`${root}.a.end`]);
      expect(rest).toEqual([`${root}.a.end`, `${root}.a.b.end`, `${root}.a`]);
    });

    test('delivers nothing after a subscription is disposed', async () => {
      const on = subject();
      let count = 0;
      const subscription = pair.there.subscribe(on, () => count++);
      await arrived();
      pair.here.publish(on, new Uint8Array(1));
      await arrived();
      subscription[Symbol.dispose]();
      await arrived();
      pair.here.publish(on, new Uint8Array(1));
      await arrived();
      expect(count).toBe(1);
    });

    test('answers a request', async () => {
      const on = subject();
      using _a = pair.there.subscribe(
        on,
        (message) => message.replyTo && pair.there.publish(message.replyTo, utf8(`${fromUtf8(message.data)}!`)),
      );
      await arrived();
      expect(fromUtf8(await pair.here.request(on, utf8('hello'), { timeoutMs: 2000 }))).toBe('hello!');
    });

    test('rejects a request with unavailable when nobody serves the subject', async () => {
      await expect(pair.here.request(subject(), new Uint8Array(0), { timeoutMs: 5000 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });

    test('rejects a request with deadline exceeded when nobody answers', async () => {
      const on = subject();
      using _a = pair.there.subscribe(on, () => {});
      await arrived();
      await expect(pair.here.request(on, new Uint8Array(0), { timeoutMs: 20 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    });

    test('rejects a request with the reason of its signal', async () => {
      const on = subject();
      using _a = pair.there.subscribe(on, () => {});
      await arrived();
      const controller = new AbortController();
      const asked = pair.here.request(on, new Uint8Array(0), { timeoutMs: 5000, signal: controller.signal });
      controller.abort(new ServeError('CANCELLED', 'the caller left'));
      await expect(asked).rejects.toMatchObject({ code: 'CANCELLED' });
    });

    test('reports a publish that reached nobody on its reply subject', async () => {
      const inbox = subject();
      const news: Message[] = [];
      using _a = pair.here.subscribe(inbox, (message) => news.push(message));
      await arrived();
      pair.here.publish(subject(), utf8('x'), { replyTo: inbox });
      await arrived();
      expect(news.map(({ subject: on, noResponders, data }) => ({ on, noResponders, bytes: data.byteLength }))).toEqual([
        { on: inbox, noResponders: true, bytes: 0 },
      ]);
    });

    test('carries a message of the largest size and refuses one byte more', async () => {
      const on = subject();
      const largest = Math.min(pair.here.maxPayloadBytes, 8 << 20);
      let received = 0;
      using _a = pair.there.subscribe(on, (message) => {
        received = message.data.byteLength;
      });
      await arrived();
      pair.here.publish(on, new Uint8Array(largest));
      await arrived();
      expect(received).toBe(largest);
      const tooLarge = { byteLength: pair.here.maxPayloadBytes + 1 } as Uint8Array;
      expect(() => pair.here.publish(on, tooLarge)).toThrow(ServeError);
    });
  });
}
