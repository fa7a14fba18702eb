/**
 * Asks the example models over gRPC and prints what they answer.
 *
 *     node examples/clients/node/main.ts half_plus_two 1 2 5
 *     node examples/clients/node/main.ts mnist examples/images/seven.png …
 *     node examples/clients/node/main.ts classify examples/images/seven.png …
 *     node examples/clients/node/main.ts segmentation examples/images/shapes.png
 *     node examples/clients/node/main.ts digit_detector examples/images/digits.png
 *
 * `--server HOST:PORT` before the model's name; the default is localhost:8500.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, type PredictionService } from './prediction-service.ts';
import { readPng } from './read-png.ts';
import { bytes, floats, integers, numbersOf, strings } from './tensors.ts';

const SHAPES = ['background', 'circle', 'square', 'triangle'];
const MARKS = '.o#^';

/** Each takes what follows its name on the command line and gives the lines to print. */
const COMMANDS: Readonly<Record<string, (service: PredictionService, words: readonly string[]) => Promise<readonly string[]>>> = {
  async half_plus_two(service, words) {
    const x = words.map(Number);
    const { y } = await service.predict({ name: 'half_plus_two' }, { x: floats(x, [x.length]) });
    return numbersOf(y).values.map((value, index) => `${x[index]} / 2 + 2 = ${value}`);
  },

  async mnist(service, files) {
    const image_bytes = strings(files.map((file) => readFileSync(file)));
    const { classes, scores } = await service.predict({ name: 'mnist', signature_name: 'image_bytes' }, { image_bytes });
    const digits = numbersOf(classes).values;
    return files.map((file, index) => {
      const digit = digits[index] ?? 0;
      return `${basename(file)}: ${digit} (${percent(numbersOf(scores).values[10 * index + digit])})`;
    });
  },

  async classify(service, files) {
    const examples = files.map((file) => ({ 'image/encoded': { bytes_list: { value: [readFileSync(file)] } } }));
    const answers = await service.classify({ name: 'mnist', signature_name: 'classify' }, examples);
    return answers.map((classes, index) => {
      const best = classes.toSorted((one, other) => other.score - one.score).slice(0, 3);
      return `${basename(files[index] ?? '')}: ${best.map(({ label, score }) => `${label} (${percent(score)})`).join(', ')}`;
    });
  },

  async segmentation(service, [file = '']) {
    const { height, width, pixels } = readPng(readFileSync(file));
    const { segmentation_map } = await service.predict(
      { name: 'segmentation' },
      { image: bytes(pixels, [1, height, width, 3]), height: integers([height]), width: integers([width]) },
    );
    const { values } = numbersOf(segmentation_map);
    // Letters are twice as high as they are wide: one for every 4 x 2 pixels.
    const drawn = Array.from({ length: Math.ceil(height / 4) }, (_, row) =>
      Array.from({ length: Math.ceil(width / 2) }, (__, column) => MARKS[values[4 * row * width + 2 * column] ?? 0]).join(''),
    );
    const counts = SHAPES.map((shape, index) => `${MARKS[index]} ${shape} ${values.filter((value) => value === index).length}`);
    return [...drawn, `pixels: ${counts.join(', ')}`];
  },

  async digit_detector(service, [file = '']) {
    const { height, width, pixels } = readPng(readFileSync(file));
    const answer = await service.predict({ name: 'digit_detector' }, { inputs: bytes(pixels, [1, height, width, 3]) });
    const boxes = numbersOf(answer.detection_boxes).values;
    const [count = 0] = numbersOf(answer.num_detections).values;
    return Array.from({ length: count }, (_, index) => {
      const [top = 0, left = 0, bottom = 0, right = 0] = boxes.slice(4 * index, 4 * index + 4);
      const place = `rows ${Math.round(top * height)} to ${Math.round(bottom * height)}, columns ${Math.round(left * width)} to ${Math.round(right * width)}`;
      return `${numbersOf(answer.detection_classes).values[index]} (${percent(numbersOf(answer.detection_scores).values[index])}): ${place}`;
    });
  },
};

function percent(share = 0): string {
  return `${(100 * share).toFixed(1)} %`;
}

const { values, positionals } = parseArgs({ options: { server: { type: 'string', default: 'localhost:8500' } }, allowPositionals: true });
const [model = '', ...words] = positionals;
const command = COMMANDS[model];
if (command === undefined || words.length === 0) {
  console.error(`usage: main.ts [--server HOST:PORT] ${Object.keys(COMMANDS).join('|')} NUMBER…|FILE…`);
  process.exit(2);
}
const service = connect(values.server);
try {
  for (const line of await command(service, words)) console.log(line);
} catch (caught) {
  // The server's refusal says which code and why; what is wrong here has a message too.
  console.error(caught instanceof Error ? caught.message : caught);
  process.exitCode = 1;
} finally {
  service.close();
}
