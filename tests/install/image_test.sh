#!/usr/bin/env bash
# Builds the Dockerfile as it is and looks at the image: image_test.sh WORK. Ten minutes on two processors: no test of every
# run, but a stage (tests/run.sh --only image).
set -euo pipefail
ROOT="$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")"
WORK="${1:?usage: image_test.sh WORK}"

fail() { echo "FAILED: $*" >&2; exit 1; }

rm -rf "$WORK"
mkdir -p "$WORK"
# A clone, as a user has it: nothing of this tree's builds.
git clone -q "$ROOT" "$WORK/src"
export PODMAN="--root $WORK/store --runroot $WORK/run --storage-driver vfs --cgroup-manager cgroupfs"
export BUILD_OPTIONS="--isolation chroot"
"$WORK/src/deploy/image/build.sh" podfence:test

read -ra podman <<<"podman $PODMAN"
version="$(sed -n 's/^ *VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt" | head -1)"
[[ "$("${podman[@]}" image inspect -f '{{json .Config.Entrypoint}}' podfence:test)" == '["/bin/podfence"]' ]] || fail "the entrypoint"
image="$("${podman[@]}" image mount podfence:test)"
trap '"${podman[@]}" image umount podfence:test >/dev/null' EXIT
[[ "$(chroot "$image" /bin/podfence --version)" == *"$version"* ]] || fail "podfence does not run, or is not version $version"
[[ "$(env -i CNI_COMMAND=VERSION "$(command -v chroot)" "$image" /lib/cni/podfence-cni </dev/null)" == *'"1.1.0"'* ]] || fail "podfence-cni does not run"
others="$(find "$image" -type f -perm /111 ! -name '*.so*' ! -path "$image/bin/podfence" ! -path "$image/lib/cni/podfence-cni")"
[[ -z "$others" ]] || fail "other programs in the image: $others"
echo "built without a registry; $(du -sh --apparent-size "$image" | cut -f1), two programs, both run"
