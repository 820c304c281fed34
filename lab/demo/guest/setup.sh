#!/bin/bash
# SPDX-License-Identifier: MIT
# Accounts, secrets and the ordinary weaknesses of a server.
set -eu

useradd --create-home --shell /bin/bash --groups staff alice
useradd --create-home --shell /bin/bash bob
chpasswd <<END
alice:correct-horse-$SEED
bob:battery-staple-$SEED
END

# The backup's configuration holds a password, and everybody may read it.
mkdir -p /srv/www /opt/maintenance
cat >/srv/www/backup.conf <<END
# Credentials of the nightly backup
user=alice
password=correct-horse-$SEED
END
chmod 644 /srv/www/backup.conf

# The nightly job runs as root, and the group may edit it.
cat >/opt/maintenance/nightly.sh <<'END'
#!/bin/sh
# Rotates the report of the day.
date -u +%F >>/var/log/nightly.log
END
chown root:staff /opt/maintenance/nightly.sh
chmod 775 /opt/maintenance/nightly.sh

# What is worth stealing.
awk -v seed="$SEED" 'BEGIN {
	srand(seed)
	for (i = 1; i <= 40; i++) printf "employee-%02d,%d\n", i, 30000 + int(rand() * 60000)
}' >/root/payroll.csv
chmod 600 /root/payroll.csv
mkdir -p /home/bob/.ssh
{
	echo '-----BEGIN OPENSSH PRIVATE KEY-----'
	awk -v seed="$SEED" 'BEGIN {
		srand(seed + 1)
		for (l = 0; l < 5; l++) { for (c = 0; c < 70; c++) printf "%c", 65 + int(rand() * 26); print "" }
	}'
	echo '-----END OPENSSH PRIVATE KEY-----'
} >/home/bob/.ssh/id_ed25519
chown -R bob:bob /home/bob/.ssh
chmod 700 /home/bob/.ssh
chmod 600 /home/bob/.ssh/id_ed25519

awk 'BEGIN {
	for (i = 0; i < 200; i++)
		printf "Jan  1 %02d:%02d:00 lemona %s\n", i / 60, i % 60,
			i % 3 ? "sshd[" 400 + i "]: Accepted publickey for bob" : "CRON[" 400 + i "]: session opened for user root"
}' >/var/log/auth.log
chown root:adm /var/log/auth.log
chmod 640 /var/log/auth.log
