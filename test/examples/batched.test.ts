import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type PredictionService } from '../../examples/clients/node/prediction-service.ts';
import { readPng } from '../../examples/clients/node/read-png.ts';
import { bytes, integers, numbersOf, strings } from '../../examples/clients/node/tensors.ts';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { EXAMPLES, startExampleMesh } from './example-models.ts';

const CALLERS = 12;

describe('callers of the example SavedModels that share batches', () => {
  let mesh: RunningMesh;
  let service: PredictionService;
  beforeAll(async () => {
    mesh = await startExampleMesh(['--enable_batching']);
    service = connect(`127.0.0.1:${mesh.grpcPort}`);
  }, 120_000);
  afterAll(async () => {
    service.close();
    await mesh[Symbol.asyncDispose]();
  });

  const image = (name: string) => readFileSync(join(EXAMPLES, 'images', name));
  const shapes = readPng(image('shapes.png'));
  const digits = readPng(image('digits.png'));

  /** The segmentation of the picture's upper rows. */
  async function segmented(rows: number): Promise<readonly number[]> {
    const inputs = {
      image: bytes(shapes.pixels, [1, shapes.height, shapes.width, 3]),
      height: integers([rows]),
      width: integers([shapes.width]),
    };
    return numbersOf((await service.predict({ name: 'segmentation' }, inputs)).segmentation_map).values;
  }

  /** How many digits are found on `count` pictures, all but the first of them empty. */
  async function found(count: number): Promise<readonly number[]> {
    const pixels = new Uint8Array(count * digits.pixels.length).fill(128);
    pixels.set(digits.pixels);
    const inputs = { inputs: bytes(pixels, [count, digits.height, digits.width, 3]) };
    return numbersOf((await service.predict({ name: 'digit_detector' }, inputs)).num_detections).values;
  }

  /** The digits that are read in the named pictures. */
  async function read(names: readonly string[]): Promise<readonly number[]> {
    const inputs = { image_bytes: strings(names.map(image)) };
    return numbersOf((await service.predict({ name: 'mnist', signature_name: 'image_bytes' }, inputs)).classes).values;
  }

  const repeated = <T>(ask: (caller: number) => Promise<T>) => Promise.all(Array.from({ length: CALLERS }, (_, caller) => ask(caller)));

  test('each get the map of as many rows as they asked for', async () => {
    const whole = await segmented(shapes.height);
    const answers = await repeated((caller) => segmented(shapes.height - 4 * caller));
    answers.forEach((map, caller) => {
      const inside = (shapes.height - 4 * caller) * shapes.width;
      expect(map.length).toBe(whole.length);
      expect(map.slice(inside).every((label) => label === 0)).toBe(true);
    });
    expect(answers[0]).toEqual(whole);
    expect(new Set(whole)).toEqual(new Set([0, 1, 2, 3]));
  });

  test('each get the digits of their own pictures, however many they sent', async () => {
    const answers = await repeated((caller) => found(1 + (caller % 3)));
    expect(answers).toEqual(Array.from({ length: CALLERS }, (_, caller) => [4, 0, 0].slice(0, 1 + (caller % 3))));
  });

  test('each get the digits of their own files, which are of unequal length', async () => {
    const files = [['three.png'], ['seven.png', 'three.png'], ['seven.png']];
    const wanted = [[3], [7, 3], [7]];
    const answers = await repeated((caller) => read(files[caller % 3] ?? []));
    expect(answers).toEqual(Array.from({ length: CALLERS }, (_, caller) => wanted[caller % 3]));
  });
});
