// SPDX-License-Identifier: MIT
/**
 * Tools of the host, as one would type them: sh`mke2fs -q -d ${tree} ${image} 2M`. What is put in is one argument, or
 * one for each element of an array, whatever is in it. A status other than 0 throws, with what the tool said. Take
 * `stdout` of what comes back: its text() has stderr in it too. Whoever gives it an `input` says stdio pipe.
 */
import { $ } from 'zx/core';

export const sh = $({ quiet: true, stdio: ['ignore', 'pipe', 'pipe'] });
