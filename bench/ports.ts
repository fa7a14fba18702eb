import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that Linux gives to connections (32768 to 60999): a server that takes its time to start would now and then find its port taken
 * by the client end of some connection.
 */
const RANGE = { from: 20_000, to: 32_000 };

/** So many different ports, one after the other from a random one on, that nobody listens on at this moment. Rejects when there are not as many. */
export async function servingPorts(count: number, { from, to } = RANGE): Promise<readonly number[]> {
  const size = to - from;
  const first = Math.floor(Math.random() * size);
  const found: number[] = [];
  for (let step = 0; step < size && found.length < count; step++) {
    const port = from + ((first + step) % size);
    if (await isFree(port)) found.push(port);
  }
  if (found.length < count) throw new Error(`only ${found.length} of ${count} ports from ${from} to ${to} are free`);
  return found;
}

/** On all interfaces, as our servers listen. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port);
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
