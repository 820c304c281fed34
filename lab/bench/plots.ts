// SPDX-License-Identifier: MIT
/** Plots of the matrix as SVG: the overhead of each configuration, one for each lane, accelerator, workload and baseline. */
import * as Plot from '@observablehq/plot';
import { JSDOM } from 'jsdom';
import type { BaselineName } from './configs.js';
import { placeOf, type Row } from './summary.js';

export interface OverheadPlot {
  /** `placeOf` its rows. */
  readonly place: string;
  readonly workload: string;
  readonly baseline: BaselineName;
  readonly svg: string;
}

const WIDTH = 720;
const BAR_HEIGHT = 16;

/** Bars of overhead, with confidence intervals where there are any, grouped by what was measured. */
export function overheadPlots(rows: readonly Row[]): OverheadPlot[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    if (row.config === row.baseline || row.overhead === undefined) continue;
    const key = `${placeOf(row)} ${row.workload} ${row.baseline}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const { document } = new JSDOM('').window;
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const configs = [...new Set(group.map((row) => row.config))];
    const things = [...new Set(group.map((row) => row.label))];
    const bars = group.map(({ config, label, overhead = 0, overheadInterval }) => ({
      config,
      thing: label,
      overhead: overhead * 100,
      low: (overheadInterval?.low ?? overhead) * 100,
      high: (overheadInterval?.high ?? overhead) * 100,
    }));
    const plot = Plot.plot({
      document,
      width: WIDTH,
      height: 50 + things.length * (configs.length * BAR_HEIGHT + 12),
      marginLeft: 190,
      marginRight: 130,
      insetRight: 50,
      x: { label: `more than ${first.baseline}, %`, grid: true },
      y: { label: null, domain: configs },
      fy: { label: null, domain: things },
      color: { domain: configs, scheme: 'Tableau10' },
      marks: [
        Plot.barX(bars, { x: 'overhead', y: 'config', fy: 'thing', fill: 'config' }),
        Plot.ruleY(
          bars.filter(({ low, high }) => low < high),
          { x1: 'low', x2: 'high', y: 'config', fy: 'thing', className: 'interval' },
        ),
        Plot.text(bars, {
          // Beside a bar to the left too, not on it.
          x: (bar: (typeof bars)[number]) => Math.max(bar.high, 0),
          y: 'config',
          fy: 'thing',
          text: (bar: (typeof bars)[number]) => bar.overhead.toFixed(1),
          textAnchor: 'start',
          dx: 4,
        }),
        Plot.ruleX([0]),
      ],
    });
    plot.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    return [{ place: placeOf(first), workload: first.workload, baseline: first.baseline, svg: plot.outerHTML }];
  });
}
