// SPDX-License-Identifier: MIT
import { deleteKeyframes, keyframeFolder, releaseKeyframes, takeKeyframes } from '../../../replay/keyframes.js';
import { ReplaySession } from '../../../replay/session.js';
import { replayVm } from '../../parts/parts.js';
import { findRunDir, openRun } from '../../run/folder.js';
import type { Invocation } from '../invocation.js';

/** `keyframes`: one pass over the run. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const { name } = await openRun(runDir);
  if (invocation.bool('delete')) {
    const place = keyframeFolder(runDir);
    await takeKeyframes(place);
    try {
      await deleteKeyframes(place);
    } finally {
      await releaseKeyframes(place);
    }
    if (invocation.json) await out.json({ run: name, keyframes: 0, bytes: 0 });
    else await out.line(`${name}: no keyframes`);
    return 0;
  }
  const session = await ReplaySession.open({ runDir, vm: await replayVm(runDir, ctx) }, ctx);
  try {
    const { seq, seconds } = await session.goto(await session.resolve('end'));
    const keyframes = session.keyframes.length;
    const bytes = await session.diskBytes();
    if (invocation.json) await out.json({ run: name, keyframes, bytes, seq, seconds });
    else {
      const size = `${(bytes / 1e6).toFixed(0)} MB`;
      await out.line(`${name}: ${keyframes} keyframes up to seq ${seq} in ${size}, made in ${seconds.toFixed(1)} s`);
    }
    return 0;
  } finally {
    await session.close();
  }
}
