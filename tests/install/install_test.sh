#!/usr/bin/env bash
# Installs the build into a prefix and packs it: install_test.sh BUILD VERSION. Writes only to a folder of its own.
set -euo pipefail

BUILD="$1"
VERSION="$2"
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }
runs() { # program: says its version
  [[ "$("$1" --version)" == *"$VERSION"* ]] || fail "$1 --version says '$("$1" --version)', not $VERSION"
}
plugin_runs() { # program: answers without anything of the machine, not even a library or an environment
  [[ "$(env -i CNI_COMMAND=VERSION "$1" </dev/null)" == *'"supportedVersions":'*'"1.1.0"'* ]] || fail "$1 does not answer VERSION"
  [[ "$(file -b "$1")" == *"statically linked"* ]] || fail "$1 is not static: $(file -b "$1")"
}

echo "into a prefix"
cmake --install "$BUILD" --prefix "$WORK/prefix" >"$WORK/install.log"
runs "$WORK/prefix/bin/podfence"
plugin_runs "$WORK/prefix/lib/cni/podfence-cni"
# All that was installed lies below the prefix, and no library or header of ours is in it.
[[ -z "$(grep -E '^-- (Installing|Up-to-date):' "$WORK/install.log" | grep -vF "$WORK/prefix" || true)" ]] ||
  fail "files outside the prefix: $(cat "$WORK/install.log")"
[[ -z "$(find "$WORK/prefix" -name '*.a' -o -name '*.h')" ]] || fail "libraries or headers in the prefix"

echo "into a package"
cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$WORK/pack" >"$WORK/cpack.log" || { cat "$WORK/cpack.log"; fail "cpack"; }
debs=("$WORK"/pack/*.deb)
((${#debs[@]} == 1)) || fail "one package expected: ${debs[*]}"
[[ "${debs[0]}" == */podfence_"$VERSION"_*.deb ]] || fail "the package's name: ${debs[0]}"
dpkg-deb -c "${debs[0]}" | tee "$WORK/contents"
for path in usr/bin/podfence usr/lib/cni/podfence-cni lib/systemd/system/podfence.service etc/podfence/agent.yaml usr/share/doc/podfence/copyright; do
  grep -qE "root/root .* \./$path\$" "$WORK/contents" || fail "the package lacks $path, or root does not own it"
done
if grep -vE ' \./(usr|lib|etc)?(/|$)' "$WORK/contents"; then fail "files in an unexpected place"; fi

dpkg-deb -e "${debs[0]}" "$WORK/control"
grep -qx /etc/podfence/agent.yaml "$WORK/control/conffiles" || fail "agent.yaml is no conffile"
for script in postinst prerm postrm; do
  [[ -x "$WORK/control/$script" ]] || fail "$script is missing or not executable"
  sh -n "$WORK/control/$script"
done
grep -E '^Depends:.*libc6' "$WORK/control/control" || fail "no dependencies: $(cat "$WORK/control/control")"

dpkg-deb -x "${debs[0]}" "$WORK/root"
runs "$WORK/root/usr/bin/podfence"
plugin_runs "$WORK/root/usr/lib/cni/podfence-cni"
size="$(stat -c %s "$WORK/root/usr/lib/cni/podfence-cni")"
((size <= 3000000)) || fail "podfence-cni has $size bytes; 3 MB at most, for it is started several times for each pod"
# The unit's command line is one that the program takes, and the example's keys are options that it knows.
command="$(sed -n 's/^ExecStart=//p' "$WORK/root/lib/systemd/system/podfence.service")"
[[ "$command" == "/usr/bin/podfence agent --config /etc/podfence/agent.yaml" ]] || fail "the unit runs $command"
mkdir "$WORK/objects"
cp "$WORK"/root/usr/share/doc/podfence/examples/*/*.yaml "$WORK/objects"
sed -i "s#^source: .*#source: dir:$WORK/objects#" "$WORK/root/etc/podfence/agent.yaml"
"$WORK/root/usr/bin/podfence" agent --config "$WORK/root/etc/podfence/agent.yaml" --dry-run >"$WORK/ruleset"
grep -q '^table inet podfence {' "$WORK/ruleset" || fail "the agent's dry run prints no table"
echo "installed, packed, and both run"
