// SPDX-License-Identifier: MIT
/** The paper's Apache throughput, whoever asks for the pages. */
import type { Size, Workload } from './workload.js';

/** What is asked for, and how often: about as much work each, and so much that chance makes a thousandth of it at most. */
const REQUESTS = [
  { label: '1-KiB', path: 'file-1', quick: 5_600, full: 20_000 },
  { label: '16-KiB', path: 'file-16', quick: 4_800, full: 16_000 },
  { label: '256-KiB', path: 'file-256', quick: 1_200, full: 4_000 },
  { label: 'cgi', path: 'cgi/hello', quick: 600, full: 2_000 },
] as const;

/** Of the guest. */
export const PORT = 8000;

/** Two processes, from the beginning to the end: what the server does depends on no clock. */
const configOf = (listen: string) => `ServerRoot /etc/apache2
PidFile $PWD/apache.pid
Listen ${listen}
ServerName localhost
StartServers 2
MinSpareServers 1
MaxSpareServers 2
ServerLimit 2
MaxRequestWorkers 2
MaxConnectionsPerChild 0
User www-data
Group www-data
DocumentRoot $PWD/htdocs
ErrorLog $PWD/error.log
LogFormat "%h %l %u %t \\"%r\\" %>s %O" common
CustomLog $PWD/access.log common
ScriptAlias /cgi/ $PWD/cgi/
<Directory />
Require all granted
</Directory>`;

const MODULES = ['mpm_prefork', 'authz_core', 'alias', 'cgi'];

/**
 * The work: a server is made ready, then all pages are asked for.
 *
 * @param listen address and port, as Apache takes them
 * @param asking a command that asks so often for a path
 */
export function apacheScript(size: Size, listen: string, asking: (path: string, count: number) => string): string {
  return `
chmod 755 /root /root/work
mkdir htdocs cgi
for kib in 1 16 256; do head -c \${kib}K /dev/zero | tr '\\0' x >htdocs/file-$kib; done
printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\n\\\\nhello\\\\n"\\n' >cgi/hello
chmod +x cgi/hello
for name in ${MODULES.join(' ')}; do echo "LoadModule \${name}_module /usr/lib/apache2/modules/mod_$name.so"; done >httpd.conf
cat >>httpd.conf <<END
${configOf(listen)}
END
# Who wakes as a batch job takes no turn away: Apache looks for the end of a script when that is there, else it sleeps for 47 ms.
chrt --batch 0 apache2 -f $PWD/httpd.conf
until ab -q -n 2 -c 2 http://127.0.0.1:${PORT}/file-1 >/dev/null; do :; done
${REQUESTS.map((one) => `span ${one.label} ${one[size]} ${asking(one.path, one[size])}`).join('\n')}
kill $(cat apache.pid)
if grep -v '" 200 ' access.log; then exit 1; fi
[ $(wc -l <access.log) -ge ${REQUESTS.reduce((sum, one) => sum + one[size], 0)} ]`;
}

/** What both workloads have in common. */
export const APACHE = {
  image: 'bench',
  memoryMiB: 512,
  timeoutMinutes: { full: 4 * 60 },
} as const satisfies Partial<Workload>;
