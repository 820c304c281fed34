// SPDX-License-Identifier: MIT
import { checkText } from '../../../guest-kernel/check-text.js';
import type { Invocation } from '../invocation.js';

/** `check text`: 1 if one byte differs. */
export async function run(invocation: Invocation): Promise<number> {
  const result = await checkText(invocation.context());
  const { out } = invocation;
  if (invocation.json) {
    await out.json(result);
  } else {
    for (const { file, section, what } of result.differences) await out.line(`${file} ${section}: ${what}`);
    await out.line(
      `kernel ${result.release} (source ${result.sourceVersion}): CONFIG_LEMONA=n against vanilla: ` +
        `${result.files} files, ${result.sections} executable sections, ${result.bytes} bytes compared: ` +
        `${result.differences.length} differences`,
    );
    await out.line(
      `${result.compiledForN} objects were compiled when n was built, the others were up to date in the tree; all are compared by content`,
    );
  }
  return result.differences.length === 0 ? 0 : 1;
}
