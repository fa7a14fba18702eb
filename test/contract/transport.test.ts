import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { connectNats } from '#mesh/transport-nats.ts';
import { hasNatsServer, startNatsServer } from '../servers/nats-server.ts';
import { transportContract } from './transport.contract.ts';

transportContract('memory', async () => {
  const broker = createMemoryBroker();
  const here = broker.connect();
  const there = broker.connect();
  return {
    here,
    there,
    [Symbol.asyncDispose]: async () => {
      await here[Symbol.asyncDispose]();
      await there[Symbol.asyncDispose]();
    },
  };
});

if (hasNatsServer) {
  transportContract('NATS', async () => {
    const server = await startNatsServer();
    const here = await connectNats({ servers: [server.url], name: 'here', onTrouble: () => {} }, 5000);
    const there = await connectNats({ servers: [server.url], name: 'there', onTrouble: () => {} }, 5000);
    return {
      here,
      there,
      [Symbol.asyncDispose]: async () => {
        await here[Symbol.asyncDispose]();
        await there[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  });

  describe('NATS transport', () => {
    test('comes back after its server restarted, with its subscriptions', async () => {
      await using server = await startNatsServer();
      await using transport = await connectNats({ servers: [server.url], name: 'me', onTrouble: () => {} }, 5000);
      const changes: boolean[] = [];
      let reconnected = () => {};
      const again = new Promise<void>((resolve) => {
        reconnected = resolve;
      });
      using _a = transport.onConnectionChange((connected) => {
        changes.push(connected);
        if (connected) reconnected();
      });
      using _b = transport.subscribe('echo', (message) => message.replyTo && transport.publish(message.replyTo, message.data));
      await server.restart();
      await again;
      expect(changes).toEqual([false, true]);
      expect(fromUtf8(await transport.request('echo', utf8('still here'), { timeoutMs: 2000 }))).toBe('still here');
    });

    test('says where it looked when no server answers', async () => {
      await expect(connectNats({ servers: ['nats://127.0.0.1:1'], name: 'me', onTrouble: () => {} }, 10)).rejects.toThrow(
        'no NATS server answers at nats://127.0.0.1:1',
      );
    });
  });
} else {
  test.skip('NATS transport: nats-server is not installed', () => {});
}
