#!/bin/sh
# SPDX-License-Identifier: MIT
#
# An example of a time-stamping authority (RFC 3161): openssl and a folder. It is worth something where the owner of the
# evidence cannot get at it: on another machine, of somebody else.
#
#   authority.sh make DIR                     makes its keys; DIR/ca.pem is what auditors are given
#   authority.sh answer DIR <query >reply     signs that a hash existed now
set -eu
umask 077

usage() {
	echo 'usage: authority.sh make DIR, or authority.sh answer DIR <query >reply' >&2
	exit 2
}

[ $# -eq 2 ] || usage
[ "$1" != make ] || mkdir -p "$2"
cd "$2"

make() {
	if [ -e ca.pem ]; then
		echo "authority.sh: $PWD has an authority already" >&2
		exit 2
	fi
	cat >tsa.cnf <<-END
		[req]
		distinguished_name = name
		[name]
		[ca]
		basicConstraints = critical,CA:true
		keyUsage = critical,keyCertSign
		[stamps]
		keyUsage = critical,digitalSignature
		extendedKeyUsage = critical,timeStamping
		[tsa]
		default_tsa = here
		[here]
		serial = serial
		signer_digest = sha256
		digests = sha256
		default_policy = 1.2.3.4.1
		ess_cert_id_alg = sha256
		ordering = yes
		tsa_name = yes
	END
	new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc'
	# shellcheck disable=SC2086
	openssl req -x509 $new -config tsa.cnf -extensions ca -subj '/CN=example time-stamping CA' -days 7300 \
		-keyout ca.key -out ca.draft
	# shellcheck disable=SC2086
	openssl req $new -config tsa.cnf -subj '/CN=example time-stamping authority' \
		-keyout tsa.key -out tsa.csr
	openssl x509 -req -in tsa.csr -CA ca.draft -CAkey ca.key -CAcreateserial -days 7300 \
		-extfile tsa.cnf -extensions stamps -out tsa.pem
	echo 01 >serial
	chmod 644 ca.draft
	mv ca.draft ca.pem
}

answer() {
	cat >"query.$$"
	trap 'rm -f "query.$$" "reply.$$"' EXIT
	# One at a time: each stamp has a number of its own.
	flock serial openssl ts -reply -config tsa.cnf -queryfile "query.$$" \
		-signer tsa.pem -inkey tsa.key -out "reply.$$" >&2
	cat "reply.$$"
}

case $1 in
make) make >&2 ;;
answer) answer ;;
*) usage ;;
esac
