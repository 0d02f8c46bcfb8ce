#!/bin/sh
# Builds the program twice, from copies of the source in two folders, with caches for modules and objects, a home, a
# time zone and a umask of their own, and fails unless both files are the same. Needs no network once the modules are
# there. It compiles everything twice, which takes two cores two minutes.
set -eu

source=$(pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
modules=$(go env GOMODCACHE)
version=${VERSION:-reproducible}

# copy DIR: the source.
copy() {
	mkdir -p "$1/home"
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$1"
}

# build DIR UMASK ZONE: DIR/pdns-distribute.
build() {
	(
		cd "$1"
		umask "$2"
		HOME=$1/home TZ=$3 GOCACHE=$1/home/objects GOMODCACHE=$1/home/modules GOFLAGS=-modcacherw \
			GOPROXY="file://$modules/cache/download" GONOSUMDB='*' \
			make --no-print-directory -s build VERSION="$version"
	)
}

go mod download
copy "$work/one"
copy "$work/another/folder"
build "$work/one" 022 UTC
build "$work/another/folder" 077 Asia/Kathmandu
cmp "$work/one/pdns-distribute" "$work/another/folder/pdns-distribute" || {
	echo "reproducible: two builds of $source differ" >&2
	exit 1
}
echo "reproducible: $(sha256sum <"$work/one/pdns-distribute" | cut -d' ' -f1), built twice"
