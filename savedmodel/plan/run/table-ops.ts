/** Ops over lookup tables. */
import { joinData } from '../../host/host-tensor.ts';
import { exportTable, tableFromTensors, tableSize } from '../../host/tables.ts';
import { hostInput, one, type StepKernel, type StepKernels, tableInput } from './step-kernel.ts';
import { HeldTensor } from './value.ts';

const find: StepKernel = (inputs) => one(tableInput(inputs, 0).find(hostInput(inputs, 1), hostInput(inputs, 2)));
const size: StepKernel = (inputs) => one(tableSize(tableInput(inputs, 0).content()));
const exported: StepKernel = (inputs) => exportTable(tableInput(inputs, 0).content()).map((tensor) => HeldTensor.ofHost(tensor));

const insert: StepKernel = (inputs) => {
  tableInput(inputs, 0).insert(hostInput(inputs, 1), hostInput(inputs, 2));
  return [];
};

const replace: StepKernel = (inputs) => {
  tableInput(inputs, 0).import(hostInput(inputs, 1), hostInput(inputs, 2));
  return [];
};

const remove: StepKernel = (inputs) => {
  tableInput(inputs, 0).remove(hostInput(inputs, 1));
  return [];
};

const initialize: StepKernel = (inputs) => {
  const table = tableInput(inputs, 0);
  if (table.isInitialized) return [];
  const { keys, entries, valueShape } = tableFromTensors(hostInput(inputs, 1), hostInput(inputs, 2));
  table.import(keys, joinData(table.valueDtype, [...entries.values()], [...keys.shape, ...valueShape]));
  return [];
};

/** Lookups, sizes and exports of all tables; writes of mutable ones. InitializeTable leaves a table that is filled already as it is. */
export const TABLE_OPS: StepKernels = {
  LookupTableFind: find,
  LookupTableFindV2: find,
  LookupTableSize: size,
  LookupTableSizeV2: size,
  LookupTableExport: exported,
  LookupTableExportV2: exported,
  LookupTableInsert: insert,
  LookupTableInsertV2: insert,
  LookupTableImport: replace,
  LookupTableImportV2: replace,
  LookupTableRemove: remove,
  LookupTableRemoveV2: remove,
  InitializeTable: initialize,
  InitializeTableV2: initialize,
};
