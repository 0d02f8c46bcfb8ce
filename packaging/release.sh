#!/bin/sh
# release.sh deb|rpm ARCH...: packages. release.sh all ARCH...: packages, archives, what they are made of, and checksums.
# All go to dist/, which is made anew. The same source and VERSION make the same files: times are those of the commit
# (SOURCE_DATE_EPOCH), and there is no other input. Called by the Makefile, which says NFPM, SBOM and VERSION.
set -eu
umask 022
export LC_ALL=C TZ=UTC

what=$1
shift
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

# release prints VERSION as packages sort it: 1.2.3, 1.2.3~rc1 before it, 1.2.3+4.gabc after it, and 0~DATE.COMMIT where there is
# no tag yet.
release() {
	case ${VERSION#v} in
	[0-9]*.*) echo "${VERSION#v}" | sed -E 's/-dirty$/.dirty/; s/-([0-9]+)-g/+\1.g/; s/-/~/g' ;;
	*) echo "0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M).$VERSION" | sed 's/-/./g' ;;
	esac
}

# tree DIR ARCH: what a host gets, where it gets it.
tree() {
	CGO_ENABLED=0 GOARCH=$2 make --no-print-directory -s build BINARY="$1/usr/bin/pdns-distribute" VERSION="$VERSION"
	chmod 755 "$1/usr/bin/pdns-distribute"
	put "$1" packaging/package/sysusers.conf usr/lib/sysusers.d/pdns-distribute.conf
	put "$1" packaging/package/tmpfiles.conf usr/lib/tmpfiles.d/pdns-distribute.conf
	for unit in packaging/systemd/*.service; do
		put "$1" "$unit" "usr/lib/systemd/system/${unit##*/}"
	done
	put "$1" roles/command/completion.bash usr/share/bash-completion/completions/pdns-distribute
	put "$1" roles/command/completion.fish usr/share/fish/vendor_completions.d/pdns-distribute.fish
	for page in packaging/man/*.[1-8]; do
		put "$1" "$page" "usr/share/man/man${page##*.}/${page##*/}"
		gzip -9n "$1/usr/share/man/man${page##*.}/${page##*/}"
	done
	for text in README.md SECURITY.md docs/*.md docs/openapi.json packaging/compose.yaml; do
		put "$1" "$text" "usr/share/doc/pdns-distribute/$text"
	done
	for text in alerts.yaml alerts_test.yaml alerts_long_test.yaml dashboard.json; do
		put "$1" "packaging/monitoring/$text" "usr/share/pdns-distribute/monitoring/$text"
	done
	put "$1" CHANGELOG.md usr/share/doc/pdns-distribute/changelog
	gzip -9n "$1/usr/share/doc/pdns-distribute/changelog"
	find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

put() {
	install -D -m 644 "$2" "$1/$3"
}

# package FORMAT ARCH
package() {
	ARCH=$2 RELEASE=$(release) TREE=$work/$2 go run "$NFPM" package --config packaging/package/nfpm.yaml --packager "$1" --target dist/
}

# archive ARCH: the same for any other distribution, to be unpacked at / without its first folder.
archive() {
	name=pdns-distribute_$(release)_linux_$1
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --transform "s,^\.,$name," \
		-C "$work/$1" -cf - . | gzip -9n >"dist/$name.tar.gz"
	GOFLAGS= go run "$SBOM" bin -json -std -noserial -notimestamp -version "$VERSION" -output "dist/$name.cdx.json" \
		"$work/$1/usr/bin/pdns-distribute"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
mkdir dist
for arch; do
	tree "$work/$arch" "$arch"
	case $what in
	all)
		package deb "$arch"
		package rpm "$arch"
		archive "$arch"
		;;
	*) package "$what" "$arch" ;;
	esac
done
[ "$what" != all ] || (cd dist && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
