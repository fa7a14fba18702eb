import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from '@jest/globals';
import { servingPorts } from '../../bench/ports.ts';

test('ports to serve on are free, differ, and lie below those of connections', async () => {
  const ports = await servingPorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(Math.max(...ports)).toBeLessThan(32_768);
  for (const port of ports) {
    const server = createServer().listen(port);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
  }
});

test('a port that is taken is passed over, and too few are an error', async () => {
  const [taken = 0] = await servingPorts(1);
  const server = createServer().listen(taken);
  await once(server, 'listening');
  try {
    const around = { from: taken, to: taken + 1 };
    await expect(servingPorts(1, around)).rejects.toThrow(`only 0 of 1 ports from ${taken} to ${taken + 1} are free`);
    expect(await servingPorts(1, { from: taken, to: taken + 100 })).not.toContain(taken);
  } finally {
    server.close();
    await once(server, 'close');
  }
});
