#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks a sealed run without any program of the lab that made it: with a shell, coreutils and openssl (3.0 or newer).
# It does what docs/evidence.md describes, and ends with status 0 only if everything is as it was signed.
# What it cannot know is whose key it is: compare the fingerprint with one that the lab gave you by another way.
#
#   sh SEAL/check.sh [CA.pem]    with the certificates of a time-stamping authority, its stamps on the chain too
set -eu
export LC_ALL=C
authority=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

pem() { # BASE64
	printf -- '-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n' "$1"
}

signed() { # KEY.pem FILE SIGNATURE
	openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$2" -sigfile "$3" >"$tmp/said" 2>&1
}

field() { # NAME: of the line in $body, a string
	printf '%s\n' "$body" | sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"
}

# The lines of a signed log: numbers, hashes, signatures. `key_of` says whose key signs a line.
check_log() { # FILE PREVIOUS
	previous=$2
	number=0
	while IFS= read -r line; do
		body=${line%,\"signature\":*}
		printf '%s' "$body" >"$tmp/body"
		printf '%s' "${line##*,\"signature\":}" | tr -d '"}' | openssl base64 -d -A >"$tmp/signature"
		case $body in
		*",\"number\":$number,\"previous\":\"$previous\","*) ;;
		*) fail "$1: entry $number does not follow the one before it" ;;
		esac
		key_of >"$tmp/key.pem"
		signed "$tmp/key.pem" "$tmp/body" "$tmp/signature" || fail "$1: entry $number is not signed by the right key"
		previous=$(printf '%s\n' "$line" | sha256sum | cut -d ' ' -f 1)
		number=$((number + 1))
	done <"$1"
	printf '%s: %s entries, head %s\n' "$1" "$number" "$previous"
}

lab=$(sed -n 2p SEAL/lab-key.pub.pem)
printf 'lab %s\n' "$(printf '%s' "$lab" | openssl base64 -d -A | sha256sum | cut -d ' ' -f 1)"

# 1. The list of files is the lab's, and the files are those of the list: none changed, none more, none less.
signed SEAL/lab-key.pub.pem SEAL/MANIFEST.sha256 SEAL/MANIFEST.sig || fail 'SEAL/MANIFEST.sha256 is not signed by the lab'
sha256sum --check --strict --quiet SEAL/MANIFEST.sha256 || fail 'a file is not the one that was sealed'
find . ! -type d | sed 's|^\./||' | grep -v '^SEAL/MANIFEST\.' | sort >"$tmp/there"
cut -c 67- SEAL/MANIFEST.sha256 | sort >"$tmp/listed"
diff "$tmp/listed" "$tmp/there" >&2 || fail 'files are missing (<) or were put in (>)'

# 2. The chain: begun by the lab, gone on with by the key that its first entry names, and closed.
chain=$(echo */chain.jsonl)
run=${chain%/chain.jsonl}
key=''
key_of() {
	case $body in
	'{"kind":"open"'*) key=$(field key) && pem "$lab" ;;
	'{"kind":"resume"'*) key=$(field key) && pem "$lab" ;;
	*) pem "$key" ;;
	esac
}
check_log "$chain" 0000000000000000000000000000000000000000000000000000000000000000
case $(tail -n 1 "$chain") in
'{"kind":"close"'*) ;;
*) fail "$chain was not closed" ;;
esac

# 3. The files are those that the chain names.
named() { # DIGEST: its lines as sha256sum prints them
	grep -o "\"file\":\"[^\"]*\",\"bytes\":[0-9]*,\"$1\":\"[0-9a-f]*\"" "$chain" |
		sed "s|\"file\":\"\\(.*\\)\",\"bytes\":.*,\"$1\":\"\\(.*\\)\"|\\2  $run/\\1|"
}

# SHA-256 in sixteen streams: the last digit of a block's name is its stream.
sha256x16() { # FILE
	mkdir "$tmp/blocks"
	split -b 4096 -a 6 -x "$1" "$tmp/blocks/"
	{
		echo 'lemona sha256 x16 4096'
		for stream in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
			(cd "$tmp/blocks" && find . -name "*$stream" | sort | xargs -r cat) | openssl dgst -sha256 -binary
		done
	} | sha256sum | cut -d ' ' -f 1
	rm -r "$tmp/blocks"
}

named sha256 >"$tmp/named"
sha256sum --check --strict --quiet "$tmp/named" || fail 'a file is not the one that the chain names'
named sha256x16 >"$tmp/named"
while read -r digest file; do
	[ "$(sha256x16 "$file")" = "$digest" ] || fail "$file is not the one that the chain names"
done <"$tmp/named"

# 4. The custody log, bound to the chain's first entry; each entry names the key of the lab that signed it.
key_of() {
	pem "$(field key)"
}
check_log "$run/custody.jsonl" "$(head -n 1 "$chain" | sha256sum | cut -d ' ' -f 1)"

# 5. Time stamps: each of the hash of the chain's line that its name says.
stamps=0
for stamp in ${authority:+"$run"/timestamps/chain-*.tsr}; do
	entries=${stamp##*-}
	head=$(sed -n "${entries%.tsr}p" "$chain" | sha256sum | cut -d ' ' -f 1)
	openssl ts -verify -digest "$head" -in "$stamp" -CAfile "$authority" >"$tmp/said" 2>&1 ||
		fail "$stamp is no stamp of that authority on this chain"
	printf '%s: %s\n' "$stamp" "$(openssl ts -reply -in "$stamp" -text 2>&1 | grep '^Time stamp')"
	stamps=$((stamps + 1))
done
[ -z "$authority" ] || [ "$stamps" -gt 0 ] || fail 'there is no time stamp'
echo 'everything is as it was signed'
