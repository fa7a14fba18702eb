import { stripTypeScriptTypes } from 'node:module';

/** A Jest transformer that only strips types, so that tests run the same code as production. */
export default {
  process: (source) => ({ code: stripTypeScriptTypes(source, { mode: 'strip' }) }),
  processAsync: async (source) => ({ code: stripTypeScriptTypes(source, { mode: 'strip' }) }),
};
