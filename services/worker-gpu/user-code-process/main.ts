/** The process of a guarded executor: `process-host.ts` starts it. */

import { startOrphanWatch } from './orphan-watch.ts';
import { serveUserCode } from './serve-user-code.ts';

startOrphanWatch(process.ppid);
serveUserCode(process);
