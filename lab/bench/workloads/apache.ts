// SPDX-License-Identifier: MIT
import { APACHE, apacheScript, PORT } from '../apache.js';
import type { Workload } from '../workload.js';

export const workload: Workload = {
  ...APACHE,
  name: 'apache',
  about: "the paper's Apache throughput: files of several sizes and a CGI script, asked for by ab over the loopback",
  isOfPaper: true,
  script: (size) =>
    apacheScript(size, `127.0.0.1:${PORT}`, (path, count) => `ab -q -n ${count} -c 2 http://127.0.0.1:${PORT}/${path}`),
};
