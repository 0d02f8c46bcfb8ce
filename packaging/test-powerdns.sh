#!/bin/bash
# Tests with other releases of PowerDNS than the installed one:
#
#   packaging/test-powerdns.sh all|short RELEASE...
#
# RELEASE is a version, which is fetched from Debian (powerdns-release.sh), or a folder with pdns_server and pdnsutil.
# With each release: the contract of the packages that build on PowerDNS, and fleets of that release alone. With all
# of them and the installed one: fleets of several releases, upgrades on the data, databases, walks through the API.
# Fetched releases are kept in POWERDNS_CACHE (~/.cache/pdns-distribute); remove it to have the newest.
set -euo pipefail
cd "$(dirname "$0")/.."

form=$1
shift
cache=${POWERDNS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pdns-distribute}

# programs RELEASE: the folder of its programs.
programs() {
	case $1 in
	*/*)
		[ -x "$1/pdns_server" ] && [ -x "$1/pdnsutil" ] || { echo "test-powerdns: $1 lacks pdns_server or pdnsutil" >&2 && return 1; }
		(cd "$1" && pwd)
		;;
	*)
		packaging/powerdns-release.sh "$1" "$cache/powerdns-$1"
		echo "$cache/powerdns-$1/bin"
		;;
	esac
}

# same_release PROGRAMS PACKAGE-AND-OPTION...: tests with that release alone.
same_release() {
	PATH="$1:$PATH" go test -count=1 -json -timeout 30m -parallel 5 "${@:2}"
}

# several_releases PATTERN...: tests with all of them.
several_releases() {
	POWERDNS_RELEASES="${folders[*]}" go test -tags matrix -count=1 -json -timeout 60m -run "$(IFS='|' && echo "$*")" ./roles/fleet
}

folders=()
for release in "$@"; do
	folder=$(programs "$release")
	folders+=("$folder")
done

run() {
	local failed=0 folder
	for folder in "${folders[@]}"; do
		echo "test-powerdns: with $folder" >&2
		if [ "$form" = short ]; then
			same_release "$folder" ./powerdns ./powerdns/origin || failed=1
			same_release "$folder" -run 'Transparency|Spelling|Variants' ./proxy || failed=1
			same_release "$folder" -run '^TestEditsAreTransfers$' ./roles/secondary || failed=1
		else
			same_release "$folder" ./roles/fleet ./powerdns/... ./proxy ./roles/secondary || failed=1
			same_release "$folder" -tags campaign -run '^(TestMovingInAndOut|Test.*Aliases.*|TestReasonsOf.*)$' ./roles/fleet || failed=1
		fi
	done
	echo "test-powerdns: with ${folders[*]}, and the installed release" >&2
	if [ "$form" = short ]; then
		several_releases '^TestMixedReleases$' '^TestUpgrade$/^lmdb$' '^TestShortWalks$' || failed=1
	else
		several_releases '^(TestMixedReleases|TestUpgrade|TestPrimaryGoesBack|TestAPIsAtSockets|TestDatabases|TestWalks)$' || failed=1
	fi
	return "$failed"
}

run | go run ./.ci/count
