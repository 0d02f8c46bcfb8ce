#!/bin/bash
# Fetches another release of PowerDNS from Debian, beside the one that is installed:
#
#   packaging/powerdns-release.sh 5.1 FOLDER
#
# makes FOLDER/bin with pdns_server and pdnsutil of that release, to be put first in PATH, and its backends (gsqlite3,
# lmdb, gmysql, gpgsql). Needs no rights and changes nothing of the machine: the packages are unpacked into FOLDER/root,
# with all the libraries that they need, and run with that root's loader. Where FOLDER has that release already, nothing
# is fetched. MIRROR is where Debian is fetched from (http://deb.debian.org/debian).
set -euo pipefail

MIRROR=${MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
PACKAGES=(pdns-server pdns-backend-sqlite3 pdns-backend-lmdb pdns-backend-mysql pdns-backend-pgsql)

give_up() {
	echo "powerdns-release: $1" >&2
	exit 1
}

[ $# -eq 2 ] || give_up "usage: $0 VERSION FOLDER, such as $0 5.1 /opt/pdns-5.1"
version=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)

# suite_of VERSION: where Debian has that release.
suite_of() {
	case $1 in
	4.7) echo bookworm ;;
	4.9) echo trixie ;;
	5.1) echo sid ;;
	*) give_up "Debian has no PowerDNS $1: it has 4.7 (bookworm), 4.9 (trixie) and 5.1 (sid).
Of another one, have pdns_server and pdnsutil in a folder, and run: make test-powerdns PDNS=FOLDER" ;;
	esac
}

# is_there: FOLDER has that release, and it runs.
is_there() {
	[ -x "$folder/bin/pdns_server" ] && grep -q "Server $version\." <<<"$("$folder/bin/pdns_server" --version 2>&1)"
}

# private_apt ARGUMENT...: apt-get with lists, packages and a status of its own, in which nothing is installed.
private_apt() {
	apt-get -qq -o Dir="$folder/apt" -o Dir::Etc::Parts=/dev/null -o Dir::State::status="$folder/apt/status" \
		-o APT::Sandbox::User= -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

fetch() {
	mkdir -p "$folder"/apt/{etc/apt/apt.conf.d,etc/apt/preferences.d,var/lib/apt/lists/partial,var/cache/apt/archives/partial}
	: >"$folder/apt/status"
	echo "deb [signed-by=$KEYRING] $MIRROR $suite main" >"$folder/apt/etc/apt/sources.list"
	private_apt -o APT::Update::Error-Mode=any update || give_up "Debian's $suite cannot be fetched from $MIRROR"
	private_apt --download-only --yes install "${PACKAGES[@]}" ||
		give_up "the packages of PowerDNS $version cannot be fetched from $MIRROR ($suite)"
}

unpack() {
	rm -rf "$folder/root"
	mkdir -p "$folder/root"
	for package in "$folder"/apt/var/cache/apt/archives/*.deb; do
		dpkg-deb --extract "$package" "$folder/root"
	done
}

# write_wrappers: programs that run with the loader, the libraries and the backends of FOLDER/root. pdnsutil learns
# where its backends are from pdns.conf alone: it gets a copy of that which says so.
write_wrappers() {
	local root=$folder/root libraries loader modules
	modules=$(dirname "$(find "$root/usr/lib" -name libgsqlite3backend.so)")
	libraries=$(dirname "$modules")
	loader=$(find "$libraries" -maxdepth 1 -name 'ld-linux-*.so.*' | head -n 1)
	[ -n "$loader" ] || give_up "the packages in $folder/apt lack a loader"
	mkdir -p "$folder/bin"
	cat >"$folder/bin/pdns_server" <<-END
		#!/bin/sh
		exec '$loader' --library-path '$libraries' '$root/usr/sbin/pdns_server' --module-dir='$modules' "\$@"
	END
	cat >"$folder/bin/pdnsutil" <<-END
		#!/bin/bash
		conf=/etc/powerdns
		arguments=()
		for argument in "\$@"; do
			case \$argument in
			--config-dir=*) conf=\${argument#*=} ;;
			*) arguments+=("\$argument") ;;
			esac
		done
		copy=\$(mktemp -d)
		trap 'rm -rf "\$copy"' EXIT
		cat "\$conf/pdns.conf" >"\$copy/pdns.conf"
		echo 'module-dir=$modules' >>"\$copy/pdns.conf"
		'$loader' --library-path '$libraries' '$root/usr/bin/pdnsutil' --config-dir="\$copy" "\${arguments[@]}"
	END
	chmod +x "$folder"/bin/*
}

suite=$(suite_of "$version")
! is_there || exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "needs apt-get and dpkg-deb of Debian"
[ -e "$KEYRING" ] || give_up "$KEYRING is missing: apt-get install debian-archive-keyring"
echo "powerdns-release: fetching PowerDNS $version (Debian's $suite) into $folder" >&2
fetch
unpack
write_wrappers
is_there || give_up "Debian's $suite has another release now: $("$folder/bin/pdns_server" --version 2>&1 | head -n 1)"
rm -rf "$folder/apt"
