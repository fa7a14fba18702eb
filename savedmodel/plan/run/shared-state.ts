/** What a plan's programs share: lookup tables, and the variables that signatures write. */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type LookupTable, tableFromTensors, tableFromTextFile } from '../../host/tables.ts';
import type { Plan, TableFill, TablePlan } from '../plan.ts';
import type { Constants } from './constants.ts';
import { Table } from './table.ts';
import { Variable } from './variable.ts';

/** Tables and variables by their index in the plan. One state may serve several runners of one plan: updates of one are seen by all. */
export interface SharedState {
  readonly tables: readonly Table[];
  readonly variables: readonly Variable[];
}

/**
 * Fills tables and gives variables their initial values. `modelFolder` is the SavedModel's, for its `assets/`. Throws DATA_LOSS, naming table
 * and file, for an asset that is missing, and what the fill throws, naming the table.
 */
export async function loadState(plan: Plan, constants: Constants, modelFolder: string): Promise<SharedState> {
  const files = new Map<string, Promise<Uint8Array>>();
  const tables: Table[] = [];
  for (const tablePlan of plan.tables) {
    const table = new Table(tablePlan);
    for (const source of tablePlan.sources) table.fill(await fillOf(tablePlan, source, constants, modelFolder, files));
    tables.push(table);
  }
  const variables: Variable[] = [];
  for (const { name, dtype, initial } of plan.variables) {
    variables.push(new Variable(name, dtype, initial === null ? undefined : await constants.read(initial)));
  }
  return { tables, variables };
}

async function fillOf(
  table: TablePlan,
  source: TableFill,
  constants: Constants,
  modelFolder: string,
  files: Map<string, Promise<Uint8Array>>,
): Promise<LookupTable> {
  try {
    if (source.type === 'tensors') {
      const [keys, values] = [await constants.read(source.keys), await constants.read(source.values)];
      return tableFromTensors(keys.host(), values.host());
    }
    const { fileName, keyIndex, valueIndex, vocabSize, delimiter, offset } = source;
    const file = assetPath(modelFolder, fileName);
    const bytes = files.get(file) ?? readFile(file);
    files.set(file, bytes);
    const format = { keyIndex, valueIndex, vocabularySize: vocabSize, delimiter, offset };
    return tableFromTextFile(await bytes, format, table.keyDtype, table.valueDtype, fileName);
  } catch (caught) {
    const why = source.type === 'text-file' ? `the asset ${source.fileName}` : 'constants of the plan';
    const { code, message } = caught instanceof ServeError ? caught : { code: 'DATA_LOSS' as const, message: toServeError(caught).message };
    throw new ServeError(code, `table ${table.name} (${table.op}) cannot be filled from ${why}: ${message}`, { cause: caught });
  }
}

/** A file below `assets/`: a plan must not make a server read others. */
function assetPath(modelFolder: string, fileName: string): string {
  const inside = normalize(fileName);
  if (fileName === '' || isAbsolute(inside) || inside === '..' || inside.startsWith('../')) {
    throw new ServeError('INVALID_ARGUMENT', `${fileName} is not a file below assets/`);
  }
  return join(modelFolder, 'assets', inside);
}
