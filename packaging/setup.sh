#!/bin/sh
# Installs what the tests and the demo need beside Go: PowerDNS with two backends, tools that check its answers, a
# client of its API, clocks that are off, a judge of systemd units, shells whose completion is tried, a reader of manual
# pages, Prometheus, which tries the alert rules, and a C compiler.
# With the argument databases also what `make test-databases` needs, with browser what `make test-page` does.
# Changes nothing, and needs no rights, where all of it is there. Leaves no PowerDNS running that wasn't before.
set -eu

PATH=$PATH:/usr/sbin:/sbin
POLICY=/usr/sbin/policy-rc.d
WHAT=${1:-}

# has_backend NAME: PowerDNS can load the backend.
has_backend() {
	pdns_server --no-config --launch="$1" --help >/dev/null 2>&1
}

has() {
	command -v "$1" >/dev/null 2>&1
}

# missing prints the Debian packages of what isn't there.
missing() {
	has pdns_server && has pdnsutil || echo pdns-server
	has_backend gsqlite3 || echo pdns-backend-sqlite3
	has_backend lmdb || echo pdns-backend-lmdb
	has sqlite3 || echo sqlite3
	has ldns-verify-zone || echo ldnsutils
	has dig || echo bind9-dnsutils
	has lexicon || echo lexicon
	has faketime || echo faketime
	has openssl || echo openssl
	has systemd-analyze || echo systemd
	has zsh || echo zsh
	has fish || echo fish
	has script || echo bsdutils
	has man || echo man-db
	has promtool || echo prometheus
	has "${CC:-gcc}" || echo gcc libc6-dev # for the race detector
	[ "$WHAT" != databases ] || missing_databases
	[ "$WHAT" != browser ] || has chromium || echo chromium
}

missing_databases() {
	[ -x /usr/lib/postgresql/15/bin/postgres ] || echo postgresql-15
	has mariadbd || echo mariadb-server
	[ -e /usr/lib/galera/libgalera_smm.so ] || echo galera-4
	has rsync || echo rsync
	has_backend gpgsql || echo pdns-backend-pgsql
	has_backend gmysql || echo pdns-backend-mysql
}

give_up() {
	echo "setup: $1" >&2
	exit 1
}

# forbid_starts keeps packages from starting services while they are installed, unless the machine has a rule of its own.
forbid_starts() {
	[ -e "$POLICY" ] && return
	printf '#!/bin/sh\nexit 101\n' >"$POLICY"
	chmod 755 "$POLICY"
	trap 'rm -f "$POLICY"' EXIT
	trap 'exit 1' HUP INT TERM
}

# keep_off SERVICE keeps a service from starting at the next boot: pdns would take port 53 with an empty configuration.
keep_off() {
	has systemctl || return 0
	systemctl disable "$1" >/dev/null 2>&1 || true
	if [ -d /run/systemd/system ]; then
		systemctl stop "$1"
	fi
}

install_packages() {
	forbid_starts
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o DPkg::Lock::Timeout=300 update -qq
	# shellcheck disable=SC2086 # one word for each package
	apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $1
	case " $1 " in
	*" pdns-server "*) keep_off pdns.service ;;
	esac
	case " $1 " in
	*" prometheus "*) keep_off prometheus.service ;;
	esac
}

packages=$(missing | tr '\n' ' ')
packages=${packages% }
[ -n "$packages" ] || exit 0

has apt-get || give_up "missing, by their names in Debian: $packages; install them as your system does"
if [ "$(id -u)" -ne 0 ]; then
	has sudo || give_up "run as root: apt-get install $packages"
	echo "setup: sudo is needed to install $packages" >&2
	exec sudo "$0" "$@"
fi

echo "setup: installing $packages"
install_packages "$packages"
left=$(missing | tr '\n' ' ')
[ -z "$left" ] || give_up "installed, but still not usable: $left"
