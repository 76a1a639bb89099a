#!/usr/bin/env bash
# The files of the image: the programs of an installation and the libraries that they are linked with, nothing else.
# rootfs.sh PREFIX DESTINATION      PREFIX: what `cmake --install --prefix` has filled
set -euo pipefail
PREFIX="${1:?usage: rootfs.sh PREFIX DESTINATION}"
ROOT="${2:?usage: rootfs.sh PREFIX DESTINATION}"

mkdir -p "$ROOT"/{bin,lib/cni,etc,run,tmp,var/lib,var/log}
cp "$PREFIX/bin/podfence" "$ROOT/bin/podfence"
cp "$PREFIX/lib/cni/podfence-cni" "$ROOT/lib/cni/podfence-cni"

# "name => /path (address)" and the loader, which stands alone. Each keeps its path, for the programs name the loader's.
ldd "$ROOT/bin/podfence" | grep -oE '/[^ ]+' | grep '\.so' | sort -u | while read -r library; do
  mkdir -p "$ROOT$(dirname "$library")"
  cp -L "$library" "$ROOT$library"
done

echo 'root:x:0:0:root:/:/sbin/nologin' >"$ROOT/etc/passwd"
echo 'root:x:0:' >"$ROOT/etc/group"
