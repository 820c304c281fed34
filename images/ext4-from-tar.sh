#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ext4-from-tar.sh MARK MKE2FS-COMMAND... : reads a tar of a root
# filesystem from stdin, adds MARK as /usr/bin/lemona-mark, and writes an ext4
# image to stdout, a regular file, leaving holes where it holds zeros.
#
# Runs as root, as root of a user namespace, or under fakeroot: all it needs is
# that owners can be set. The command makes the file `image` of the folder `tree`,
# both in a working folder of its own, as a user namespace may write
# nowhere else.
set -eu

mark=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/lemona-ext4.XXXXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

mkdir "$work/tree"
# Devices cannot be made in a user namespace, and the guest mounts its own /dev.
tar -C "$work/tree" -x -p --numeric-owner --same-owner \
	--xattrs --xattrs-include=security.capability --exclude='./dev/*' -f -
cp "$mark" "$work/tree/usr/bin/lemona-mark"
chown 0:0 "$work/tree/usr/bin/lemona-mark"
chmod 0755 "$work/tree/usr/bin/lemona-mark"
touch -d "@$E2FSPROGS_FAKE_TIME" "$work/tree/usr/bin/lemona-mark" "$work/tree/usr/bin"

cd "$work"
"$@" >&2
# Not cp: stdout may be a file that this user may write, but not open.
dd if="$work/image" bs=65536 conv=sparse status=none
