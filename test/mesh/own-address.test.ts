import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { ownAddressTowards } from '#mesh/own-address.ts';

describe('the address by which others reach this machine', () => {
  test.each(['127.0.0.1', 'localhost'])('towards %s is the loopback interface', async (host) => {
    expect(['127.0.0.1', '::1']).toContain(await ownAddressTowards(host));
  });

  test('towards one of its own addresses is an address of its own', async () => {
    const own = Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).filter(({ family }) => family === 'IPv4'));
    for (const { address } of own) {
      const found = await ownAddressTowards(address);
      expect(isIP(found)).toBe(isIP(address));
      expect(own.map((one) => one.address)).toContain(found);
    }
  });

  test('is refused for a name that there is not', async () => {
    await expect(ownAddressTowards('nobody.invalid')).rejects.toThrow('nobody.invalid');
  });
});
