#!/bin/bash
# SPDX-License-Identifier: MIT
# The day of a small server, from the administrator's side. Runs as root in the
# guest; $1 is the seed. All of it is real: accounts, passwords, permissions.
set -eu
export SEED=$1 HOME=/root LC_ALL=C
cd "$(dirname "$0")"

bash setup.sh
lemona-mark set-up
bash honest.sh
lemona-mark honest-work

# What follows is not the administrator's business to know; nobody else may read it here.
chmod 700 .
# The web service has a hole: whoever asks can run a command as www-data.
as_www_data() { setpriv --reuid=www-data --regid=www-data --init-groups "$@"; }

as_www_data bash -s <foothold.sh
# The nightly job runs as root, as it does every night.
/opt/maintenance/nightly.sh
as_www_data bash -s <backdoor.sh

lemona-mark before-destruction
as_www_data bash -s <destroy.sh
