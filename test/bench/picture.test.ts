import { describe, expect, test } from '@jest/globals';
import { drawPicture, type Panel, type Picture } from '../../bench/picture.ts';

const RATES: Panel = {
  title: 'requests/s',
  scale: 'log',
  series: [
    {
      name: 'mesh',
      points: [
        [1, 1000],
        [10, 5000],
        [100, 10_000],
      ],
    },
    {
      name: 'embedded',
      points: [
        [1, 2000],
        [100, 10_000],
      ],
    },
  ],
};
const PICTURE: Picture = { title: 'More <models>', xTitle: 'models', xScale: 'log', panels: [RATES] };

describe('a picture', () => {
  test('is the same bytes for the same findings, and small', () => {
    expect(drawPicture(PICTURE)).toBe(drawPicture(structuredClone(PICTURE)));
    expect(drawPicture({ ...PICTURE, panels: [RATES, RATES, RATES, RATES] }).length).toBeLessThan(20_000);
  });

  test('is well-formed, with every sign of XML in its texts escaped', () => {
    const drawn = drawPicture({ ...PICTURE, xTitle: 'a & "b"' });
    const open: string[] = [];
    for (const [, closing, name = '', selfClosed] of drawn.matchAll(/<(\/)?([a-z]+)[^<>]*?(\/)?>/g)) {
      if (closing) expect(open.pop()).toBe(name);
      else if (!selfClosed) open.push(name);
    }
    expect(open).toEqual([]);
    expect(drawn).toContain('<title>More &#60;models&#62;</title>');
    expect(drawn).toContain('a &#38; &#34;b&#34;');
    expect(drawn.replace(/&#\d+;/g, '')).not.toContain('&');
  });

  test('draws a line and a mark for each point, higher for more', () => {
    const drawn = drawPicture(PICTURE);
    const panel = drawn.slice(drawn.indexOf('<g '));
    const [mesh = []] = linesOf(panel);
    expect(mesh).toHaveLength(3);
    expect(mesh.map(([x]) => x)).toEqual([...mesh.map(([x]) => x)].sort((a, b) => a - b));
    expect(mesh.map(([, y]) => y)).toEqual([...mesh.map(([, y]) => y)].sort((a, b) => b - a));
    // Ten times as many models are always as far away.
    const [first, second, third] = mesh.map(([x]) => x);
    expect((second ?? 0) - (first ?? 0)).toBeCloseTo((third ?? 0) - (second ?? 0), 0);
    expect(panel.match(/<circle class="m0"/g)).toHaveLength(3);
    expect(panel.match(/<path class="m1"/g)).toHaveLength(2);
  });

  test('names each kind of line once, and looks the same in all panels', () => {
    const other: Panel = { ...RATES, title: 'p99, ms', series: RATES.series.slice(1) };
    const drawn = drawPicture({ ...PICTURE, panels: [RATES, other] });
    expect(drawn.match(/>embedded</g)).toHaveLength(1);
    expect(drawn.split('<g ').at(-1)).toContain('class="line l1"');
    expect(drawn.split('<g ').at(-1)).not.toContain('class="line l0"');
  });

  test('keeps marks and texts inside its frame', () => {
    const columnsOf = { 1: 1, 2: 2, 3: 3, 4: 2 } as const;
    for (const count of [1, 2, 3, 4] as const) {
      const drawn = drawPicture({ ...PICTURE, panels: Array.from({ length: count }, () => RATES) });
      const [, width = 0, height = 0] = /viewBox="0 0 (\d+) (\d+)"/.exec(drawn)?.map(Number) ?? [];
      for (const [, x = 0, y = 0] of drawn.matchAll(/translate\(([\d.]+) ([\d.]+)\)/g)) {
        expect(Number(x)).toBeLessThan(width);
        expect(Number(y)).toBeLessThan(height);
      }
      for (const line of linesOf(drawn.slice(drawn.indexOf('<g ')))) {
        for (const [x, y] of line) {
          expect(x).toBeGreaterThan(0);
          expect(x).toBeLessThan(width / columnsOf[count]);
          expect(y).toBeGreaterThanOrEqual(0);
        }
      }
    }
  });

  test('has colours for pages that are dark', () => {
    const drawn = drawPicture(PICTURE);
    const [light = '', dark = ''] = drawn.split('@media (prefers-color-scheme:dark)');
    for (const kind of ['.page{fill:', '.l0{stroke:', '.m0{fill:', '.l1{stroke:', 'text{']) {
      expect(light).toContain(kind);
      expect(dark).toContain(kind);
    }
  });

  test('refuses more kinds of lines than can be told apart, and values that have no place', () => {
    const series = Array.from({ length: 7 }, (_, index) => ({ name: `s${index}`, points: [[1, 1]] as const }));
    expect(() => drawPicture({ ...PICTURE, panels: [{ ...RATES, series }] })).toThrow('7 kinds of lines, at most 6');
    const nothing = { ...RATES, series: [{ name: 'mesh', points: [[1, 0]] as const }] };
    expect(() => drawPicture({ ...PICTURE, panels: [nothing] })).toThrow('0 has no place on a log axis');
  });
});

/** The places of each line's points, in order. */
function linesOf(drawn: string): (readonly [number, number])[][] {
  return [...drawn.matchAll(/class="line l\d" d="([^"]+)"/g)].map(([, path = '']) =>
    [...path.matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const),
  );
}
