// Loaded into every command that is measured: at its end it tells, on descriptor 3, the most memory
// that was resident at once, in KiB.

import { writeSync } from 'node:fs';

process.on('exit', () => writeSync(3, String(process.resourceUsage().maxRSS)));
