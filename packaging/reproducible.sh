#!/bin/sh
# reproducible.sh TARGET RESULT: makes a target of the Makefile twice, from copies of the source in two folders, with caches
# for modules and objects, a home, a time zone and a umask of their own, and fails unless both results, a file or a folder,
# are the same. A folder is then put here. Needs no network once the modules are there. It compiles everything twice, which
# takes two cores two minutes.
set -eu

target=$1
result=$2
source=$(pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
modules=$(go env GOMODCACHE)
version=${VERSION:-$(git describe --tags --always --dirty)}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# copy DIR: the source.
copy() {
	mkdir -p "$1/home"
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$1"
}

# build DIR UMASK ZONE: DIR/RESULT.
build() {
	(
		cd "$1"
		umask "$2"
		HOME=$1/home TZ=$3 GOCACHE=$1/home/objects GOMODCACHE=$1/home/modules GOFLAGS=-modcacherw SOURCE_DATE_EPOCH=$epoch \
			GOPROXY="file://$modules/cache/download" GONOSUMDB='*' \
			make --no-print-directory -s "$target" VERSION="$version"
	)
}

go mod download
# The tools of a release are modules as well: they are to be in the cache.
for tool in ${NFPM:-} ${SBOM:-}; do
	go run "$tool" --help >/dev/null 2>&1 || true
done
copy "$work/one"
copy "$work/another/folder"
build "$work/one" 022 UTC
build "$work/another/folder" 077 Asia/Kathmandu
diff -r "$work/one/$result" "$work/another/folder/$result" || {
	echo "reproducible: two builds of $source differ" >&2
	exit 1
}
if [ -d "$work/one/$result" ]; then
	rm -rf "${source:?}/$result"
	cp -r "$work/one/$result" "$source/$result"
	cat "$result/SHA256SUMS"
	echo "reproducible: made twice, in $result"
else
	echo "reproducible: $(sha256sum <"$work/one/$result" | cut -d' ' -f1), built twice"
fi
