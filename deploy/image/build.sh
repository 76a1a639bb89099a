#!/usr/bin/env bash
# Builds the Dockerfile's image without a registry: build.sh [TAG]. Debian's packages make what debian:12-slim is, podman
# does the rest. Needs root, podman, mmdebstrap; PODMAN holds options of podman's (say, where it keeps images), and
# BUILD_OPTIONS of its build.
set -euo pipefail
ROOT="$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")"
TAG="${1:-podfence}"
MIRROR="${MIRROR:-http://deb.debian.org/debian}"
read -ra podman <<<"podman ${PODMAN:-}"
read -ra options <<<"${BUILD_OPTIONS:-}"

WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

base="$(sed -n 's/^FROM \(debian:[^ ]*\) AS build$/\1/p' "$ROOT/deploy/image/Dockerfile")"
[[ "$base" == debian:12-slim ]] || { echo "the Dockerfile's base is '$base': this script makes Debian 12 only" >&2; exit 1; }
if ! "${podman[@]}" image exists "docker.io/library/$base"; then
  echo "== $base, from Debian's packages"
  mmdebstrap --quiet --variant=minbase bookworm "$WORK/base.tar" "$MIRROR"
  "${podman[@]}" import --quiet "$WORK/base.tar" "docker.io/library/$base" >/dev/null
fi
echo "== the image"
"${podman[@]}" build --pull=never --network host "${options[@]}" -f "$ROOT/deploy/image/Dockerfile" -t "$TAG" "$ROOT"
