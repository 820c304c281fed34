// SPDX-License-Identifier: MIT
/** What is worth a line in a timeline of an intrusion, by path: general knowledge of a Unix system. */

export type PathClass = 'accounts' | 'schedule' | 'log' | 'login' | 'startup' | 'program';

const CLASSES: readonly (readonly [RegExp, PathClass])[] = [
  [/^\/etc\/(passwd|shadow|group|gshadow|subuid|subgid|sudoers)(-|\+|\.[^/]*)?$/, 'accounts'],
  [/^\/etc\/sudoers\.d\//, 'accounts'],
  [/^\/etc\/(cron[^/]*|anacrontab)(\/|$)/, 'schedule'],
  [/^\/var\/spool\/(cron|at)\//, 'schedule'],
  [/^\/etc\/systemd\/.*\.timer$/, 'schedule'],
  [/^\/var\/log\//, 'log'],
  [/\/\.ssh\/(authorized_keys|config|rc)$/, 'login'],
  [/^\/etc\/(pam\.d|ssh)\//, 'login'],
  [/^\/etc\/(rc\.local|profile|bash\.bashrc|ld\.so\.preload|ld\.so\.conf)(\.d\/|$)/, 'startup'],
  [/^\/etc\/(init\.d|systemd)\//, 'startup'],
  [/^\/(usr\/)?(local\/)?(s?bin|lib(32|64|exec)?)\//, 'program'],
];

const SECRETS: readonly RegExp[] = [
  /^\/etc\/g?shadow-?$/,
  // Dot files of root's are read by every shell.
  /^\/root\/[^.]/,
  /\/\.ssh\/id_[^/]+$/,
  /\/\.(gnupg|aws|kube)\//,
  /\.(pem|key|kdbx)$/,
];

const SCRATCH = /^\/(tmp|var\/tmp|dev|proc|run)(\/|$)/;

/** What kind of place a path is, if any special one. */
export function classOf(path: string): PathClass | undefined {
  return CLASSES.find(([pattern]) => pattern.test(path))?.[1];
}

/** Files whose reading alone matters. */
export function isSecret(path: string): boolean {
  return SECRETS.some((pattern) => pattern.test(path));
}

/** Places where everybody's throw-away files lie. */
export function isScratch(path: string): boolean {
  return SCRATCH.test(path);
}
