/** Line charts as SVG, for RESULTS.md: the same findings always give the same bytes. */
import { type Axis, chosenAxis, measuredAxis, type Scale, tickText } from './picture-axis.ts';

/** One line of a panel. Series of the same name look the same in all panels. */
export interface Series {
  readonly name: string;
  /** `[x, y]`, by ascending x. */
  readonly points: readonly (readonly [number, number])[];
}

/** One chart of a picture. */
export interface Panel {
  /** What is measured, with its unit, such as `requests/s`. */
  readonly title: string;
  readonly scale: Scale;
  readonly series: readonly Series[];
}

/** Charts side by side over the same x. */
export interface Picture {
  readonly title: string;
  /** What x is, such as `connections`. */
  readonly xTitle: string;
  readonly xScale: Scale;
  readonly panels: readonly Panel[];
}

const WIDTH = 880;
const PLOT_HEIGHT = 190;
const MARGIN = { left: 52, right: 18, top: 30, bottom: 46 };
const HEAD = 34;
const LEGEND_LINE = 20;
/** About what a letter of the legend takes: nothing measures text here. */
const LETTER = 6.6;
const SAMPLE = 34;

/** Colours on light and on dark, with dashes and marks for those who do not see them apart. */
const LOOKS = [
  { light: '#0550ae', dark: '#58a6ff', dashes: '', mark: 'circle' },
  { light: '#bc4c00', dark: '#f0883e', dashes: '7 3', mark: 'square' },
  { light: '#116329', dark: '#56d364', dashes: '2 3', mark: 'triangle' },
  { light: '#8250df', dark: '#d2a8ff', dashes: '8 3 2 3', mark: 'diamond' },
  { light: '#a40e26', dark: '#ff7b72', dashes: '12 4', mark: 'circle' },
  { light: '#59636e', dark: '#9198a1', dashes: '4 4', mark: 'square' },
] as const;

/** Draws the picture, readable on light and dark pages. Throws RangeError for more than six names of series, and for values that an axis cannot show. */
export function drawPicture(picture: Picture): string {
  const { title, xTitle, xScale, panels } = picture;
  const names = [...new Set(panels.flatMap(({ series }) => series.map(({ name }) => name)))];
  if (names.length > LOOKS.length)
    throw new RangeError(`a picture has ${names.length} kinds of lines, at most ${LOOKS.length} can be told apart`);
  const xAxis = chosenAxis(
    panels.flatMap(({ series }) => series.flatMap(({ points }) => points.map(([x]) => x))),
    xScale,
  );
  const legend = placeLegend(names);
  const columns = panels.length <= 3 ? panels.length : 2;
  const panelHeight = MARGIN.top + PLOT_HEIGHT + MARGIN.bottom;
  const plotWidth = WIDTH / columns - MARGIN.left - MARGIN.right;
  const top = HEAD + legend.lines * LEGEND_LINE;
  const height = top + Math.ceil(panels.length / columns) * panelHeight;
  const drawn = panels.map((panel, index) => {
    const [x, y] = [(index % columns) * (WIDTH / columns) + MARGIN.left, top + Math.floor(index / columns) * panelHeight + MARGIN.top];
    return `<g transform="translate(${rounded(x)} ${y})">\n${drawPanel(panel, { names, xAxis, xTitle, plotWidth })}\n</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escaped(title)}</title>
<style>${styles(names.length)}</style>
<rect class="page" width="${WIDTH}" height="${height}"/>
<text class="head" x="14" y="22">${escaped(title)}</text>
${legend.entries.map(({ x, line }, index) => legendEntry(names[index] ?? '', index, { x, y: HEAD + line * LEGEND_LINE + 8 })).join('\n')}
${drawn.join('\n')}
</svg>
`;
}

function drawPanel(
  { title, scale, series }: Panel,
  look: { readonly names: readonly string[]; readonly xAxis: Axis; readonly xTitle: string; readonly plotWidth: number },
): string {
  const { names, xAxis, xTitle, plotWidth } = look;
  const yAxis = measuredAxis(
    series.flatMap(({ points }) => points.map(([, y]) => y)),
    scale,
  );
  // A little room at both ends, so that marks do not touch the frame.
  const xOf = (value: number) => rounded((0.03 + 0.94 * xAxis.place(value)) * plotWidth);
  const yOf = (value: number) => rounded((1 - yAxis.place(value)) * PLOT_HEIGHT);
  const grid = yAxis.ticks.map(
    (tick) =>
      `<line class="grid" x2="${rounded(plotWidth)}" y1="${yOf(tick)}" y2="${yOf(tick)}"/><text class="tick end" x="-6" y="${yOf(tick) + 4}">${tickText(tick)}</text>`,
  );
  const ticks = xAxis.ticks.map(
    (tick) =>
      `<line class="axis" x1="${xOf(tick)}" x2="${xOf(tick)}" y1="${PLOT_HEIGHT}" y2="${PLOT_HEIGHT + 4}"/><text class="tick mid" x="${xOf(tick)}" y="${PLOT_HEIGHT + 17}">${tickText(tick)}</text>`,
  );
  const lines = series.map(({ name, points }) => {
    const index = names.indexOf(name);
    const places = points.map(([x, y]) => [xOf(x), yOf(y)] as const);
    const path = places.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${x} ${y}`).join('');
    return `<path class="line l${index}" d="${path}"/>${places.map((place) => mark(index, place)).join('')}`;
  });
  return [
    `<text class="name" x="${-MARGIN.left + 14}" y="-12">${escaped(title)}</text>`,
    ...grid,
    `<line class="axis" x2="${rounded(plotWidth)}" y1="${PLOT_HEIGHT}" y2="${PLOT_HEIGHT}"/>`,
    ...ticks,
    `<text class="tick mid" x="${rounded(plotWidth / 2)}" y="${PLOT_HEIGHT + 34}">${escaped(xTitle)}</text>`,
    ...lines,
  ].join('\n');
}

/** Puts the names side by side, on as many lines as they need. */
function placeLegend(names: readonly string[]): {
  readonly entries: readonly { readonly x: number; readonly line: number }[];
  readonly lines: number;
} {
  const entries: { readonly x: number; readonly line: number }[] = [];
  let [x, line] = [14, 0];
  for (const name of names) {
    const width = SAMPLE + name.length * LETTER + 20;
    if (x + width > WIDTH && x > 14) [x, line] = [14, line + 1];
    entries.push({ x: rounded(x), line });
    x += width;
  }
  return { entries, lines: names.length === 0 ? 0 : line + 1 };
}

function legendEntry(name: string, index: number, { x, y }: { readonly x: number; readonly y: number }): string {
  const sample = `<path class="line l${index}" d="M${x} ${y}h26"/>${mark(index, [x + 13, y])}`;
  return `${sample}<text class="tick" x="${rounded(x + SAMPLE)}" y="${y + 4}">${escaped(name)}</text>`;
}

function mark(index: number, [x, y]: readonly [number, number]): string {
  const draw = (path: string) => `<path class="m${index}" d="M${x} ${y}${path}"/>`;
  switch (LOOKS[index]?.mark) {
    case 'square':
      return draw('m-3-3h6v6h-6z');
    case 'triangle':
      return draw('m0-4l4 7h-8z');
    case 'diamond':
      return draw('m0-4.5l4.5 4.5l-4.5 4.5l-4.5-4.5z');
    default:
      return `<circle class="m${index}" cx="${x}" cy="${y}" r="3.2"/>`;
  }
}

function styles(count: number): string {
  const lines = LOOKS.slice(0, count);
  const shown = (theme: 'light' | 'dark') =>
    lines.map((look, index) => `.l${index}{stroke:${look[theme]}}.m${index}{fill:${look[theme]}}`).join('');
  const dashes = lines.map(({ dashes }, index) => (dashes === '' ? '' : `.l${index}{stroke-dasharray:${dashes}}`)).join('');
  return [
    'text{font:12px system-ui,sans-serif;fill:#1f2328}.head{font-size:15px;font-weight:600}.name{font-weight:600}.end{text-anchor:end}.mid{text-anchor:middle}',
    `.page{fill:#fff}.tick{fill:#59636e}.grid{stroke:#d1d9e0}.axis{stroke:#818b98}.line{fill:none;stroke-width:2}${dashes}${shown('light')}`,
    `@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.page{fill:#0d1117}.tick{fill:#9198a1}.grid{stroke:#3d444d}.axis{stroke:#656c76}${shown('dark')}}`,
  ].join('');
}

/** To a tenth of a point: no eye sees more, and the file stays small. */
function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
