import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';

/**
 * The address of this machine that packets to a host leave from: by it members behind the same network reach each other. Sends nothing. Rejects
 * when the host's name cannot be resolved or there is no way to it.
 */
export async function ownAddressTowards(host: string): Promise<string> {
  const { address, family } = await lookup(host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      // The port does not matter: connecting a datagram socket only chooses a way.
      socket.connect(9, address, resolve);
    });
    return socket.address().address;
  } finally {
    socket.close();
  }
}
