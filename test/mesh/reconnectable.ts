import type { Transport } from '#mesh/transport.ts';

/** A transport whose users can be told that its connection was gone for a moment. */
export interface Reconnectable {
  readonly transport: Transport;
  reconnect(): void;
}

/** Wraps a transport that never loses its connection. */
export function makeReconnectable(transport: Transport): Reconnectable {
  const listeners = new Set<(connected: boolean) => void>();
  return {
    transport: Object.create(transport, {
      onConnectionChange: {
        value: (listener: (connected: boolean) => void) => {
          listeners.add(listener);
          return { [Symbol.dispose]: () => void listeners.delete(listener) };
        },
      },
    }) as Transport,
    reconnect: () => {
      for (const connected of [false, true]) for (const listener of [...listeners]) listener(connected);
    },
  };
}
