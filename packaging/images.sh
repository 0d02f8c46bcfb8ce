#!/bin/bash
# Asks the registry about the images that Dockerfile and compose.yaml name by tag and digest. A digest that the registry
# does not have is a failure. A tag that means another digest by now is said: that is a newer build of the same version.
# Where the registry cannot be reached nothing is known, which is said, and is no failure. It is Docker Hub, or what
# REGISTRY and REGISTRY_TOKENS name.
set -euo pipefail
cd "$(dirname "$0")/.."

registry=${REGISTRY:-https://registry-1.docker.io} tokens=${REGISTRY_TOKENS:-https://auth.docker.io/token?service=registry.docker.io}
types='application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json'
ask() { curl --silent --show-error --max-time 20 "$@" || true; }

# manifest NAME REFERENCE: the status of the answer, and the digest that it names.
manifest() {
	local token
	token=$(ask "$tokens&scope=repository:$1:pull" | sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p')
	ask --head --output /dev/null --header "Authorization: Bearer $token" --header "Accept: $types" \
		--write-out '%{http_code} %header{docker-content-digest}' "$registry/v2/$1/manifests/$2"
}

failed=0
for image in $(grep -hoE '[a-z0-9./-]+:[0-9.]+@sha256:[0-9a-f]{64}' Dockerfile packaging/compose.yaml | sort -u); do
	IFS=:@ read -r name tag digest <<<"${image/sha256:/sha256_}"
	digest=${digest/_/:}
	[[ $name == */* ]] || name=library/$name # Docker Hub's own
	read -r code _ <<<"$(manifest "$name" "$digest")" || true
	case $code in
	200) read -r _ now <<<"$(manifest "$name" "$tag")" || true
		[[ $now == "$digest" ]] && echo "images: $image: good" || echo "images: $image: good, but the tag means ${now:-nothing} by now" ;;
	404) echo "images: $image: the registry does not have it" && failed=1 ;;
	*) echo "images: NOT CHECKED: $image: no answer of the registry (${code:-none})" ;;
	esac
done
exit "$failed"
