/** How long connections live: leaving, age, idleness, pings of both sides. */
import { describe, expect, test } from '@jest/globals';
import { ERROR } from '../../../services/gateway/http2/protocol.ts';
import { ECHO, HOLD } from './echo-service.ts';
import { FLAG, FRAME, frame, message, openWire, unaryCall, type Wire } from './wire.ts';

const hello = Buffer.from('hello');
/** Answers the last ping of the server. */
const pong = (wire: Wire) => wire.send(frame(FRAME.ping, FLAG.ack, 0, wire.of(FRAME.ping).at(-1)?.payload ?? Buffer.alloc(8)));

describe('a server that leaves', () => {
  test('takes calls that were on their way, refuses later ones, and ends with the last answer', () => {
    const wire = openWire();
    wire.send(unaryCall(1, HOLD, hello));
    wire.connection.leave();
    wire.read();
    expect(wire.goAway).toMatchObject({ code: ERROR.none, lastStream: 2 ** 31 - 1 });
    wire.send(unaryCall(3, ECHO, hello));
    expect(wire.answer(3).ended).toBe(true);
    pong(wire);
    expect(wire.goAway).toMatchObject({ code: ERROR.none, lastStream: 3 });
    wire.send(unaryCall(5, ECHO, hello));
    expect(wire.answer(5).reset).toBe(ERROR.refusedStream);
    expect(wire.socket.writableEnded).toBe(false);
    wire.echo.held[0]?.reply(hello, null);
    wire.read();
    expect(wire.answer(1)).toMatchObject({ ended: true, body: message(hello) });
    expect(wire.socket.writableEnded).toBe(true);
  });

  test('does not wait for a client that never answers its ping', async () => {
    const wire = openWire();
    wire.connection.leave();
    await wire.pass(2500, 500);
    expect(wire.goAway?.lastStream).toBe(0);
    expect(wire.socket.destroyed).toBe(true);
  });

  test('closes a connection that has not said anything yet', () => {
    const wire = openWire({ greet: false });
    wire.connection.leave();
    expect(wire.socket.destroyed).toBe(true);
  });
});

describe('a connection', () => {
  test('without calls for too long is asked to go, one with a call is not', async () => {
    const wire = openWire({ limits: { maxIdleMs: 1000 } });
    wire.send(unaryCall(1, HOLD, hello));
    await wire.pass(5000, 250);
    expect(wire.goAway).toBeUndefined();
    wire.echo.held[0]?.reply(hello, null);
    await wire.pass(1500, 250);
    expect(wire.goAway).toMatchObject({ code: ERROR.none });
  });

  test('that is too old is asked to go, and closed after its grace', async () => {
    const wire = openWire({ limits: { maxAgeMs: 1000, maxAgeGraceMs: 2000 } });
    wire.send(unaryCall(1, HOLD, hello));
    await wire.pass(900, 100);
    expect(wire.goAway).toBeUndefined();
    await wire.pass(200, 100);
    expect(wire.goAway?.code).toBe(ERROR.none);
    expect(wire.echo.seen.cancelled).toBe(0);
    await wire.pass(2100, 100);
    expect(wire.socket.destroyed).toBe(true);
    expect(wire.echo.seen.cancelled).toBe(1);
  });

  test('whose client is silent is asked whether it is there, and closed when it does not answer', async () => {
    const wire = openWire({ limits: { keepaliveTimeMs: 1000, keepaliveTimeoutMs: 500 } });
    for (let count = 1; count < 4; count++) {
      await wire.pass(1200, 100);
      expect(wire.of(FRAME.ping)).toHaveLength(count);
      pong(wire);
    }
    await wire.pass(1200, 100);
    expect(wire.socket.destroyed).toBe(false);
    await wire.pass(600, 100);
    expect(wire.socket.destroyed).toBe(true);
  });

  test('whose client asks too often without a call between gets gRPC’s word for it', async () => {
    const wire = openWire({ limits: { minPingIntervalMs: 1000, maxPingStrikes: 2 } });
    const ping = () => wire.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    for (let count = 1; count < 20; count += 2) {
      ping();
      wire.send(unaryCall(count, ECHO, hello));
    }
    await wire.pass(1100);
    for (let count = 0; count < 3; count++) ping();
    expect(wire.goAway).toBeUndefined();
    ping();
    expect(wire.goAway).toMatchObject({ code: ERROR.enhanceYourCalm, text: 'too_many_pings' });
  });

  test('cancels what its client waits for when it goes', () => {
    const wire = openWire();
    wire.send(unaryCall(1, HOLD, hello), unaryCall(3, HOLD, hello));
    wire.connection.gone();
    expect(wire.echo.seen.cancelled).toBe(2);
    wire.echo.held[0]?.reply(hello, null);
    expect(wire.connection.streamCount).toBe(0);
  });
});
