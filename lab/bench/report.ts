// SPDX-License-Identifier: MIT
/** Writes a report's files: report.json, report.html, CSV, Markdown, and each plot as SVG and PNG. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Resvg } from '@resvg/resvg-js';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { matrixCsv, samplesCsv } from './csv.js';
import { reportHtml } from './html.js';
import { matrixMarkdown } from './markdown.js';
import { overheadPlots } from './plots.js';
import { parseReport, type Report } from './report-data.js';
import { summarise } from './summary.js';

/** Of PNGs: sharp on a dense screen. */
const PNG_WIDTH = 1440;

/** Returns the paths of what was written, the page first. */
export async function writeReport(report: Report, output: string): Promise<string[]> {
  const plots = overheadPlots(summarise(report));
  const files: [string, string | Buffer][] = [
    ['report.html', reportHtml(report, plots)],
    ['report.json', `${JSON.stringify(report, null, 1)}\n`],
    ['matrix.csv', matrixCsv(report)],
    ['matrix.md', matrixMarkdown(report)],
    ['samples.csv', samplesCsv(report)],
    ...plots.flatMap(({ place, workload, baseline, svg }): [string, string | Buffer][] => {
      const name = `plots/${place.match(/\w+/g)?.join('-')}-${workload}${baseline === 'vanilla' ? '' : `-${baseline}`}`;
      return [
        [`${name}.svg`, svg],
        [
          `${name}.png`,
          new Resvg(svg, { background: 'white', fitTo: { mode: 'width', value: PNG_WIDTH } }).render().asPng(),
        ],
      ];
    }),
  ];
  const written: string[] = [];
  for (const [name, content] of files) {
    const file = path.join(output, name);
    try {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, content);
    } catch (error) {
      throw ioError(`writing ${file}`, error);
    }
    written.push(file);
  }
  return written;
}

/** Reads a report.json. */
export async function readReport(file: string): Promise<Report> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT')
      throw new LabError('LAB_USAGE', `there is no report ${file}`, { cause: error });
    throw ioError(`reading the report ${file}`, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new LabError('LAB_USAGE', `${file} is not JSON`, { cause: error });
  }
  return parseReport(value, file);
}
