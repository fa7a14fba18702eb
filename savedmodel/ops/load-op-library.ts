/** Imports modules of custom ops. That runs user code: only on threads that have limits. */
import { ServeError } from '#mesh/errors.ts';
import { checkDefinition } from './check-definition.ts';
import { DEFAULT_DOMAIN, indexOps, type LibraryOp, type OpLibraryIndex } from './op-library.ts';
import { moduleUrl, type OpModule } from './op-modules.ts';

/** Modules in two layers: what a version folder brings counts before what the settings name. */
export interface OpModuleLayers {
  readonly model: readonly OpModule[];
  readonly configured: readonly OpModule[];
}

/** Hears what user code runs now; null: none any more. */
export type OnUserCode = (name: string | null) => void;

/**
 * Imports the modules one after another and checks their ops. Rejects with ServeError INVALID_ARGUMENT that names the file, and the op: for a module that
 * cannot be imported or exports no list of ops, a definition that is not one, and two of one domain and name in one layer.
 */
export async function loadOpLibrary({ model, configured }: OpModuleLayers, onUserCode: OnUserCode = () => {}): Promise<OpLibraryIndex> {
  const ops = [...(await loadLayer(model, onUserCode)), ...(await loadLayer(configured, onUserCode))];
  return indexOps(ops.map((op) => watched(op, onUserCode)));
}

/** The op with `shapes` that says when it runs. */
function watched(op: LibraryOp, onUserCode: OnUserCode): LibraryOp {
  const { shapes, name } = op.definition;
  if (shapes === undefined) return op;
  const told: typeof shapes = (inputs, attributes) => {
    onUserCode(`"shapes" of op ${name} in ${op.module.path}`);
    const found = shapes(inputs, attributes);
    onUserCode(null);
    return found;
  };
  return { ...op, definition: { ...op.definition, shapes: told } };
}

async function loadLayer(modules: readonly OpModule[], onUserCode: OnUserCode): Promise<readonly LibraryOp[]> {
  const ops = new Map<string, LibraryOp>();
  for (const module of modules) {
    onUserCode(module.path);
    const loaded = await loadModule(module);
    onUserCode(null);
    for (const op of loaded) {
      const full = `${op.domain}:${op.definition.name}`;
      const before = ops.get(full);
      if (before !== undefined) {
        const where = before.module.path === module.path ? 'twice' : `also in ${before.module.path}`;
        throw new ServeError('INVALID_ARGUMENT', `${module.path}: op ${op.definition.name} of the domain ${op.domain} is defined ${where}`);
      }
      ops.set(full, op);
    }
  }
  return [...ops.values()];
}

async function loadModule(module: OpModule): Promise<readonly LibraryOp[]> {
  const { path } = module;
  let exported: { readonly default?: unknown; readonly ops?: unknown };
  try {
    exported = await import(moduleUrl(module));
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `${path} cannot be imported: ${caught instanceof Error ? caught.message : String(caught)}`, {
      cause: caught,
    });
  }
  const list = exported.ops ?? exported.default;
  if (!Array.isArray(list)) {
    const found = Object.keys(exported).join(', ') || 'nothing';
    throw new ServeError(
      'INVALID_ARGUMENT',
      `${path} exports no list of ops, as its default or as "ops": it exports ${found} (what modules of a folder share belongs in a folder below it)`,
    );
  }
  return list.map((value, index): LibraryOp => {
    const definition = checkDefinition(value, path, index);
    return { definition, domain: definition.domain ?? DEFAULT_DOMAIN, module };
  });
}
