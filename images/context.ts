// SPDX-License-Identifier: MIT
import type { LabContext } from '../lab/util/context.js';

/** What a build needs of the lab's context: no runs. */
export type BuildContext = Pick<LabContext, 'log' | 'progress' | 'signal' | 'cacheDir'>;
