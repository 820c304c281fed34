// SPDX-License-Identifier: MIT
import { APACHE, apacheScript, PORT } from '../apache.js';
import { LOAD_PROGRAM } from '../load.js';
import type { Workload } from '../workload.js';

export const workload: Workload = {
  ...APACHE,
  name: 'apache-host',
  about: 'the same server and pages, asked for by ab on the host over the virtual network',
  loadedPort: PORT,
  script: (size) =>
    `${LOAD_PROGRAM}\n${apacheScript(size, `0.0.0.0:${PORT}`, (path, count) => `load ${path} ${count}`)}`,
};
