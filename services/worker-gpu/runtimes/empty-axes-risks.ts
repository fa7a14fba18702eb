/** Which operators end the process on which empty axes: each seen in a process of its own, onnxruntime 1.30 on a CPU. */

/** Some axes of an input in a row, from `start` to before `end` (negative: counted from the last; undefined: all the rest). */
export interface FilledPiece {
  readonly start: number;
  readonly end: number | undefined;
  /** None of them may be empty. */
  readonly filled: boolean;
}

/** A node as far as it matters. */
export interface RiskyNode {
  readonly op: string;
  /** Null: some axis that is not known here. */
  readonly axis: number | null | undefined;
}

const ALL: readonly FilledPiece[] = [{ start: 0, end: undefined, filled: true }];
/** Samples and channels may be none; pixels may not. */
const PIXELS: readonly FilledPiece[] = [
  { start: 0, end: 2, filled: false },
  { start: 2, end: undefined, filled: true },
];

/** There may be no signals, but none of no length. */
const SIGNAL: readonly FilledPiece[] = [
  { start: 0, end: 1, filled: false },
  { start: 1, end: undefined, filled: true },
];

/** The axes of an operator's input that must not be empty, cut into pieces that make up all axes; undefined: any may be. */
export function piecesOf({ op, axis }: RiskyNode, input: number): readonly FilledPiece[] | undefined {
  switch (op) {
    case 'Einsum':
      return ALL;
    case 'LSTM':
    case 'GRU':
      return input === 0 ? ALL : undefined;
    case 'Conv':
      return input === 1 ? ALL : undefined;
    case 'InstanceNormalization':
      return input === 0 ? PIXELS : undefined;
    case 'DFT':
      return input !== 0 ? undefined : axis === 0 || axis === null ? ALL : SIGNAL;
    case 'TopK':
      return input === 0 ? rowsOf(axis === undefined ? -1 : axis) : undefined;
    case 'Unique':
      return input === 0 && axis !== undefined ? othersOf(axis) : undefined;
    default:
      return undefined;
  }
}

/** The axes before one. */
function rowsOf(axis: number | null): readonly FilledPiece[] | undefined {
  if (axis === null) return ALL;
  if (axis === 0) return undefined;
  return [
    { start: 0, end: axis, filled: true },
    { start: axis, end: undefined, filled: false },
  ];
}

/** All axes but one. */
function othersOf(axis: number | null): readonly FilledPiece[] {
  if (axis === null) return ALL;
  const last = axis === -1;
  return [
    ...(axis === 0 ? [] : [{ start: 0, end: axis, filled: true }]),
    { start: axis, end: last ? undefined : axis + 1, filled: false },
    ...(last ? [] : [{ start: axis + 1, end: undefined, filled: true }]),
  ];
}
