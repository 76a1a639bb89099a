#!/usr/bin/env bash
# Builds everything and passes every test, on a fresh Debian 12: sudo tests/run.sh
# shellcheck disable=SC2317 # stages are called by name
set -euo pipefail

ROOT="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
ROOT="$(readlink -f "$ROOT")"
cd "$ROOT"

ALL_STAGES=(apt format shellcheck arch release cluster quickstart asan tsan fuzz tidy bench)
FAST_STAGES=(apt arch dev)

usage() {
  cat <<'TEXT'
usage: tests/run.sh [OPTION...]
  (none)            every stage below, from a bare Debian 12 to the last test; needs root to install packages
  --fast            debug build and unit tests only
  --only STAGE      one stage (may be given again): apt format shellcheck arch dev release cluster quickstart asan tsan
                    fuzz tidy bench image; image builds the Dockerfile, about ten minutes, and is in no other run
  --worlds N        random worlds in which the program is compared with the evaluator (default: 20000)
  --wire-worlds N   the same with real packets (default: 120)
  --soak            a long run: --worlds 200000 --wire-worlds 2000 --fuzz-seconds 600, more pods, tests labelled `once`
                    under sanitizers too
  --fuzz-seconds N  time for each fuzz target (default 10)
environment: PODFENCE_TIDY=off leaves clang-tidy out; PODFENCE_SEED=N repeats a random run; PODFENCE_PODS=N and
             PODFENCE_SANDBOXES=N pods whose first packet is judged, through the CNI chain and through containerd
TEXT
}

STAGES=()
FUZZ_SECONDS=10
SANITIZED_ONCE=0
ARGUMENTS=("$@")
BESIDE=""  # the process that works beside, or "this" in that process
while (($#)); do
  case "$1" in
    --fast) STAGES=("${FAST_STAGES[@]}") ;;
    --only) STAGES+=("${2:?--only needs a stage}"); shift ;;
    --worlds) export PODFENCE_WORLDS="${2:?--worlds needs a number}"; shift ;;
    --wire-worlds) export PODFENCE_WIRE_WORLDS="${2:?--wire-worlds needs a number}"; shift ;;
    --soak)
      export PODFENCE_WORLDS=200000 PODFENCE_WIRE_WORLDS=2000 PODFENCE_PODS=5000 PODFENCE_SANDBOXES=1000
      FUZZ_SECONDS=600
      SANITIZED_ONCE=1
      ;;
    --fuzz-seconds) FUZZ_SECONDS="${2:?--fuzz-seconds needs a number}"; shift ;;
    --beside) BESIDE=this ;; # of a run without options: see work_beside
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
  shift
done
((${#STAGES[@]})) || STAGES=("${ALL_STAGES[@]}")

PACKAGES=(
  g++ cmake ninja-build pkg-config ccache git ca-certificates
  libnftnl-dev libmnl-dev libboost1.81-dev libssl-dev libsimdjson-dev libyaml-cpp-dev libspdlog-dev libfmt-dev
  libexpected-dev libcli11-dev nlohmann-json3-dev libgtest-dev libgmock-dev libbenchmark-dev
  clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev lld-14 shellcheck
  nftables iproute2 iputils-ping containernetworking-plugins conntrack curl jq python3 python3-venv util-linux
  file dpkg-dev fakeroot prometheus rsyslog systemd containerd strace
  runc python3-grpcio python3-yaml podman mmdebstrap openssl libfaketime
)
JOBS="$(nproc)"
RESULTS="$ROOT/build/results"
export CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1 # the same tree in another place finds its objects again
export CMAKE_COLOR_DIAGNOSTICS=OFF PYTHONDONTWRITEBYTECODE=1
PASSED=0
FAILED=0
SUMMARY=()

say() { printf '\n=== %s\n' "$*"; }

# The C++ files of the tree, NUL-separated.
sources() { find policy enforcer cni tests deploy -type f \( -name '*.h' -o -name '*.cpp' \) -print0 2>/dev/null | sort -z; }

require_some() { # what, count
  (($2)) || { echo "no $1 found: a check of nothing proves nothing" >&2; return 1; }
  echo "$2 $1"
}

stage_apt() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" == "install ok installed" ]] || missing+=("$package")
  done
  echo "${#PACKAGES[@]} packages, ${#missing[@]} missing"
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || { echo "run as root to install: ${missing[*]}" >&2; return 1; }
  apt-get update -q
  # In runlevel 1 no package starts its daemon.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

stage_format() {
  local files
  mapfile -d '' files < <(sources)
  require_some "C++ files" "${#files[@]}"
  clang-format-14 --dry-run -Werror "${files[@]}"
}

stage_shellcheck() {
  local files
  mapfile -t files < <(grep -rlE '^#!.*\b(ba)?sh\b' .ci tests deploy | sort)
  require_some "shell scripts" "${#files[@]}"
  shellcheck --severity=style "${files[@]}"
}

stage_arch() {
  local rule rules=(tests/arch/*_rules_test.py tests/arch/docs_test.py)
  for rule in "${rules[@]}"; do
    echo "$rule"
    python3 -B "$rule"
  done
}

# Most tests wait for most of their time. What takes processors and no more is done beside them by a process that gets
# what they leave: programs of Go, clang-tidy, the builds of later stages. The stage that needs it waits for it.
work_beside() {
  local name
  for name in kubernetes containerd helm otel hubble tidy asan tsan fuzz; do
    set +e
    (set -e; "work_$name") >"$RESULTS/beside/$name.log" 2>&1
    echo $? >"$RESULTS/beside/$name.new"
    set -e
    mv "$RESULTS/beside/$name.new" "$RESULTS/beside/$name.status"
  done
}

start_beside() {
  rm -rf "$RESULTS/beside"
  mkdir -p "$RESULTS/beside"
  # A session of its own, so that where the kernel groups processes by session it is the least of them all.
  setsid bash -c 'echo 19 >/proc/self/autogroup; exec chrt --idle 0 "$@"' - "${BASH_SOURCE[0]}" "${ARGUMENTS[@]}" --beside \
    >"$RESULTS/beside/log" 2>&1 </dev/null &
  BESIDE=$!
  trap 'kill -- "-$BESIDE" 2>/dev/null || true' EXIT
}

# Work that may have been done beside: its words and its status.
work() { # name
  if [[ -z "$BESIDE" ]]; then
    "work_$1"
    return
  fi
  until [[ -e "$RESULTS/beside/$1.status" ]]; do
    kill -0 "$BESIDE" 2>/dev/null || { cat "$RESULTS/beside/log"; echo "$1: nobody works beside" >&2; return 1; }
    sleep 1
  done
  cat "$RESULTS/beside/$1.log"
  return "$(<"$RESULTS/beside/$1.status")"
}

build() { # preset, configure option...
  cmake --preset "$1" -Wno-dev "${@:2}"
  cmake --build --preset "$1" -j "$JOBS"
}

work_dev() { build dev; }
work_release() { build release; }
work_asan() { build asan; }
work_tsan() { build tsan; }
work_fuzz() { build fuzz -DPODFENCE_FUZZ_SECONDS="$FUZZ_SECONDS"; }
work_kubernetes() { tests/support/go_programs.sh tests/cluster/kubernetes; }
work_containerd() { tests/support/go_programs.sh tests/cluster/containerd; }
work_helm() { tests/support/go_programs.sh tests/cluster/helm; }
work_otel() { tests/support/go_programs.sh tests/otel; }
work_hubble() { tests/support/go_programs.sh tests/hubble; }

# Builds a preset, then runs its tests.
build_and_test() { # preset
  local preset="$1"
  case "$preset" in
    dev | release) "work_$preset" ;;
    *) work "$preset" ;;
  esac
  rm -rf "${RESULTS:?}/$preset"
  mkdir -p "$RESULTS/$preset"
  run_tests "$preset" "$RESULTS/$preset" "${SELECT[@]}" || second_try "$preset" "$RESULTS/$preset"
  no_reports "$RESULTS/$preset"
}

run_tests() { # preset, folder for results, option of ctest...
  local preset="$1" results="$2"
  shift 2
  GTEST_OUTPUT="xml:$results/" "${RUNNER[@]}" ctest --test-dir "build/$preset" -j "$JOBS" "$@" \
    --output-on-failure --no-tests=error --output-junit "$results/ctest.xml"
}

# Sanitizer stages look for what sanitizers find: programs are five to fifteen times slower there, and a deadline that
# the release stage keeps at its first try can be missed. So can one of a cluster of thirty processes on a busy machine.
# What failed there, without a sanitizer's report, runs once more, by itself; both tries are printed. A report, of
# whichever process, fails the stage whatever its test said.
second_try() { # preset, folder for results
  ((SECOND_TRY)) && no_reports "$2" || return 1
  echo "--- $1: what failed, once more and one by one"
  mkdir -p "$2/again"
  JOBS=1 run_tests "$1" "$2/again" --rerun-failed
}

no_reports() { # folder for results
  local reports
  mapfile -t reports < <(find "$1" -name 'sanitizer.*')
  ((${#reports[@]})) || return 0
  echo "${#reports[@]} reports of sanitizers" >&2
  head -n 100 "${reports[@]}" >&2
  return 1
}

SELECT=()
SECOND_TRY=0
# ThreadSanitizer of g++ 12 wants an address space that is not shuffled as widely as new kernels do.
RUNNER=(env)
without_shuffling() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then RUNNER=(setarch "$(uname -m)" -R); fi
}

stage_dev() {
  SELECT=(-L unit)
  build_and_test dev
}
stage_release() {
  SELECT=(-LE cluster)
  build_and_test release
}

# A real Kubernetes cluster. Its programs are built once, outside the tree: the first time takes ten minutes.
stage_cluster() {
  SECOND_TRY=1
  work_release
  rm -rf "${RESULTS:?}/cluster"
  mkdir -p "$RESULTS/cluster"
  run_tests release "$RESULTS/cluster" -L cluster || second_try release "$RESULTS/cluster"
}

# Sanitizers make a world five to fifteen times as dear: every test runs but those of the tree itself and those that take
# long for the little that they add (label once; a soak runs them), the random ones on fewer worlds.
left_out() { ((SANITIZED_ONCE)) && echo "arch|cluster" || echo "arch|once"; }
stage_asan() {
  SECOND_TRY=1
  SELECT=(-LE "$(left_out)")
  export PODFENCE_WORLDS="${PODFENCE_WORLDS:-1500}" PODFENCE_WIRE_WORLDS="${PODFENCE_WIRE_WORLDS:-30}"
  export PODFENCE_PODS="${PODFENCE_PODS:-200}" PODFENCE_SANDBOXES="${PODFENCE_SANDBOXES:-20}"
  local to="log_path=$RESULTS/asan/sanitizer"
  export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:$to"
  export UBSAN_OPTIONS="print_stacktrace=1:$to"
  build_and_test asan
}
stage_tsan() {
  SECOND_TRY=1
  SELECT=(-LE "$(left_out)")
  export PODFENCE_WORLDS="${PODFENCE_WORLDS:-500}" PODFENCE_WIRE_WORLDS="${PODFENCE_WIRE_WORLDS:-20}"
  export PODFENCE_PODS="${PODFENCE_PODS:-200}" PODFENCE_SANDBOXES="${PODFENCE_SANDBOXES:-20}"
  export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:log_path=$RESULTS/tsan/sanitizer"
  without_shuffling
  build_and_test tsan
}

stage_fuzz() {
  require_some "corpus files" "$(find tests/fuzz/corpus -type f | wc -l)"
  build_and_test fuzz
}

stage_tidy() { work tidy; }
work_tidy() {
  if [[ "${PODFENCE_TIDY:-on}" == off ]]; then
    echo "left out: PODFENCE_TIDY=off"
    return 0
  fi
  cmake --preset tidy -Wno-dev
  local files
  mapfile -d '' files < <(find policy enforcer cni -type f -name '*.cpp' -print0 2>/dev/null | sort -z)
  require_some "sources" "${#files[@]}"
  printf '%s\0' "${files[@]}" | xargs -0 -n 2 -P "$JOBS" clang-tidy-14 -p build/tidy --quiet
}

stage_image() { tests/install/image_test.sh "$ROOT/build/image"; }

stage_quickstart() { deploy/quickstart.sh --no-apt; }

stage_bench() {
  cmake --build --preset release --target podfence podfence_bench -j "$JOBS"
  build/release/tests/bench/podfence_bench --short build/release/enforcer/podfence
}

# Adds the tests of a stage to the totals; a stage without a list of tests counts as one.
add_results() { # stage, status
  local counts=(1 0 0) file="$RESULTS/$1/ctest.xml"
  (($2 == 0)) || counts=(0 1 0)
  if [[ "$file" -nt "$STARTED" ]]; then
    read -ra counts < <(python3 -B tests/results.py "$RESULTS/$1")
    if (($2 != 0 && counts[1] == 0)); then counts[1]=1; fi
  fi
  PASSED=$((PASSED + counts[0]))
  FAILED=$((FAILED + counts[1]))
  COUNTED="${counts[0]} passed, ${counts[1]} failed"
  ((counts[2] == 0)) || COUNTED+=", ${counts[2]} skipped"
}

run_stage() {
  local name="$1" begin=$SECONDS status
  declare -F "stage_$name" >/dev/null || { echo "no such stage: $name" >&2; exit 64; }
  say "$name"
  # Not in a condition: there bash would ignore set -e within the stage.
  set +e
  (set -e; "stage_$name")
  status=$?
  set -e
  add_results "$name" "$status"
  local verdict=ok
  ((status == 0)) || verdict=FAILED
  SUMMARY+=("$(printf '%-10s %-6s %5ds  %s' "$name" "$verdict" $((SECONDS - begin)) "$COUNTED")")
  say "$name: $verdict in $((SECONDS - begin)) s"
  [[ "$name" != apt || "$status" == 0 ]] || finish
}

finish() {
  say "summary, $SECONDS s"
  printf '%s\n' "${SUMMARY[@]}"
  echo "$PASSED passed, $FAILED failed"
  ((FAILED == 0)) || exit 1
  exit 0
}

mkdir -p "$RESULTS"
if [[ "$BESIDE" == this ]]; then
  work_beside
  exit
fi
STARTED="$RESULTS/started"
touch "$STARTED"
for stage in "${STAGES[@]}"; do
  run_stage "$stage"
  # What it needs is installed now.
  [[ "$stage" != apt || "${STAGES[*]}" != "${ALL_STAGES[*]}" ]] || start_beside
done
finish
