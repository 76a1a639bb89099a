#!/usr/bin/env bash
# Podfence at work, on one machine and in two minutes: sudo deploy/quickstart.sh
#
# Builds podfence, then a node that is a network namespace of its own, with five pods that Debian's CNI plugins plug in.
# The agent enforces the three policies of deploy/examples/policies there; real HTTP and UDP, over IPv4 and IPv6, show
# what passes. The host's own network is not touched, and nothing stays behind.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: sudo deploy/quickstart.sh [--no-apt] [--keep]
  --no-apt   install nothing: every package is there
  --keep     wait for Enter before taking it all down, to look around
TEXT
}

ROOT="$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..")"
EXAMPLES="$ROOT/deploy/examples"
PODFENCE="$ROOT/build/release/enforcer/podfence"
CNI_BIN=/usr/lib/cni
NODE=node-1 # as in examples/cluster
APT=yes
KEEP=no
for option in "$@"; do
  case "$option" in
    --no-apt) APT=no ;;
    --keep) KEEP=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
done
((EUID == 0)) || { echo "run as root: network namespaces and nftables need it" >&2; exit 1; }

PACKAGES=(
  g++ cmake ninja-build pkg-config ccache libnftnl-dev libmnl-dev libboost1.81-dev libsimdjson-dev libyaml-cpp-dev
  libspdlog-dev libfmt-dev libexpected-dev libcli11-dev nlohmann-json3-dev libgtest-dev libgmock-dev libbenchmark-dev
  nftables iproute2 containernetworking-plugins curl jq python3
)
# name, namespace, what it serves
PODS=(
  "web shop tcp:8080"
  "db shop tcp:8080 tcp:5432"
  "names shop tcp:8080 udp:5353"
  "customer clients tcp:8080"
  "visitor clients tcp:8080"
)
# from, to, port, expected. Written by hand from the policies: nothing here asks podfence.
PAIRS=(
  "customer web 8080/TCP allow" # web-from-customers
  "visitor web 8080/TCP deny"   # in the right namespace, without the right label
  "db web 8080/TCP deny"        # and db may open no connection at all
  "names web 8080/TCP deny"
  "web db 5432/TCP allow" # backends-from-web, port "sql"
  "names db 5432/TCP deny"
  "customer db 5432/TCP deny"
  "visitor db 5432/TCP deny"
  "web db 8080/TCP deny" # the right pod, another port
  "customer db 8080/TCP deny"
  "web names 5353/UDP allow" # backends-from-web, port "dns"
  "db names 5353/UDP deny"
  "customer names 5353/UDP deny"
  "visitor names 5353/UDP deny"
  "web names 8080/TCP deny"
  "web customer 8080/TCP allow" # no policy isolates the clients, nor what web may call
  "web visitor 8080/TCP allow"
  "customer visitor 8080/TCP allow"
  "visitor customer 8080/TCP allow"
  "db customer 8080/TCP deny"
  "names visitor 8080/TCP deny"
)

TAG="podfence-$$"
WORK=""
PIDS=()
PLUGGED=()
NAMESPACES=()

say() { printf '\n== %s\n' "$*"; }
die() { echo "quickstart: $*" >&2; exit 1; }
in_node() { ip netns exec "$TAG-node" "$@"; }
in_pod() { ip netns exec "$TAG-$1" "${@:2}"; }

stop() { # pid...: ends them, and waits
  local pid
  for pid in "$@"; do kill "$pid" 2>/dev/null || true; done
  for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}

cleanup() {
  local status=$? name
  trap '' INT TERM HUP
  set +e
  stop "${PIDS[@]}"
  wait # for probes under way: each has its own time limit
  for name in "${PLUGGED[@]}"; do cni DEL "$name" >/dev/null; done
  for name in "${NAMESPACES[@]}"; do ip netns del "$name"; done
  [[ -z "$WORK" ]] || rm -rf "$WORK"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" == "install ok installed" ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${#missing[@]} packages"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

build() {
  say "building podfence"
  (cd "$ROOT" && cmake --preset release -Wno-dev >"$WORK/configure.log" && cmake --build --preset release --target podfence) ||
    { cat "$WORK/configure.log" >&2; die "the build failed"; }
}

new_namespace() {
  ip netns add "$1"
  NAMESPACES+=("$1")
  ip -n "$1" link set lo up
}

# Calls the plugin as a container runtime does: the command in the environment, the configuration on standard input.
cni() { # ADD|DEL, pod
  in_node env CNI_COMMAND="$1" CNI_CONTAINERID="$TAG-$2" CNI_NETNS="/run/netns/$TAG-$2" CNI_IFNAME=eth0 \
    CNI_PATH="$CNI_BIN" "$CNI_BIN/ptp" <"$WORK/cni.json"
}

plug_pods() {
  say "a node and its pods"
  jq -n --arg dir "$WORK/ipam" '{cniVersion: "1.0.0", name: "quickstart", type: "ptp", ipam: {
    type: "host-local", dataDir: $dir, ranges: [[{subnet: "10.88.0.0/24"}], [{subnet: "fd00:88::/64"}]],
    routes: [{dst: "0.0.0.0/0"}, {dst: "::/0"}]}}' >"$WORK/cni.json"
  new_namespace "$TAG-node"
  local name space rest
  for pod in "${PODS[@]}"; do
    read -r name space rest <<<"$pod"
    new_namespace "$TAG-$name"
    PLUGGED+=("$name") # before ADD: a failed ADD is undone by DEL
    cni ADD "$name" >"$WORK/$name.json" || die "the CNI plugin refused pod $name: $(cat "$WORK/$name.json")"
    read -r V4["$name"] V6["$name"] < <(jq -r '[.ips[].address | sub("/.*"; "")] | sort_by(contains(":")) | @tsv' "$WORK/$name.json")
    printf '%-10s %-9s %-12s %s\n' "$space" "$name" "${V4[$name]}" "${V6[$name]}"
    # Not through a function: $! has to be the server itself, not a shell around it.
    # shellcheck disable=SC2086 # a list of ports
    ip netns exec "$TAG-$name" python3 "$EXAMPLES/pod.py" serve "$name" $rest >"$WORK/$name.ready" 2>"$WORK/$name.log" &
    PIDS+=($!)
  done
}

# The objects as kubectl prints them; the pods with the addresses that the plugin gave them.
write_objects() {
  mkdir "$WORK/objects"
  cp "$EXAMPLES"/policies/*.yaml "$EXAMPLES"/cluster/*.yaml "$WORK/objects"
  local name space number=101
  for pod in "${PODS[@]}"; do
    read -r name space _ <<<"$pod"
    sed -i -e "s/\\b10\\.88\\.0\\.$number\\b/${V4[$name]}/" -e "s/\\bfd00:88::$number\\b/${V6[$name]}/" "$WORK/objects/pods.yaml"
    number=$((number + 1))
  done
}

wait_for() { # command...: until it succeeds, for fifteen seconds
  local try
  for ((try = 0; try < 150; try++)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}

enforcing() { [[ "$(status -o json | jq -r .state)" == enforcing ]]; }
status() { "$PODFENCE" status --socket "$SOCKET" "$@"; }

# Every packet that the kernel dropped is in a record, or stated as lost. Records wait for a flow to fall silent.
records_complete() {
  status -o json | jq -e '.flows | .denied > 0 and .denied == .recorded + .lost and .open_flows == 0 and .waiting_lines == 0'
}

start_agent() {
  say "podfence agent"
  SOCKET="$WORK/run/agent.sock"
  ip netns exec "$TAG-node" "$PODFENCE" agent --source "dir:$WORK/objects" --node "$NODE" --state-dir "$WORK/state" \
    --socket "$SOCKET" --flow-log "$WORK/flows.jsonl" 2>"$WORK/agent.log" &
  PIDS+=($!)
  wait_for enforcing || { tail -n 20 "$WORK/agent.log" >&2; status >&2 || true; die "the agent does not enforce"; }
  status
}

probe() { # from, address, port, protocol
  case "$4" in
    TCP) in_pod "$1" curl -s --noproxy '*' --max-time 1.5 -o /dev/null "http://$([[ "$2" == *:* ]] && echo "[$2]" || echo "$2"):$3/" ;;
    UDP) in_pod "$1" python3 "$EXAMPLES/pod.py" ask "$2" "$3" >/dev/null 2>&1 ;;
  esac
}

verdict_of() { if probe "$@"; then echo allow; else echo deny; fi; }

# Every pair at the same time, or the denied ones would take a second and a half each.
send_traffic() {
  mkdir -p "$WORK/seen"
  local index from to port waiting=()
  for index in "${!PAIRS[@]}"; do
    read -r from to port _ <<<"${PAIRS[index]}"
    verdict_of "$from" "${V4[$to]}" "${port%/*}" "${port#*/}" >"$WORK/seen/$index.4" &
    waiting+=($!)
    verdict_of "$from" "${V6[$to]}" "${port%/*}" "${port#*/}" >"$WORK/seen/$index.6" &
    waiting+=($!)
  done
  wait "${waiting[@]}"
}

# Without the agent every connection must pass, or a "deny" in the table would prove nothing.
check_network() {
  send_traffic
  local passed
  passed="$(cat "$WORK"/seen/* | grep -c allow || true)"
  echo "without podfence $passed of $((2 * ${#PAIRS[@]})) connections pass"
  ((passed == 2 * ${#PAIRS[@]})) || die "the network itself does not work"
}

print_table() {
  local index from to port expected seen4 seen6 row
  printf '%-9s %-9s %-9s %-9s %-6s %-6s\n' from to port expected IPv4 IPv6
  for index in "${!PAIRS[@]}"; do
    read -r from to port expected <<<"${PAIRS[index]}"
    seen4="$(cat "$WORK/seen/$index.4")"
    seen6="$(cat "$WORK/seen/$index.6")"
    row=ok
    if [[ "$seen4" != "$expected" || "$seen6" != "$expected" ]]; then
      row=DIFFERS
      DIFFERENT=$((DIFFERENT + 1))
    fi
    printf '%-9s %-9s %-9s %-9s %-6s %-6s %s\n' "$from" "$to" "$port" "$expected" "$seen4" "$seen6" "$row"
  done
}

# Every server listens, and IPv6 has finished its check for duplicate addresses.
pods_ready() {
  local pod name
  [[ -z "$(ip -n "$TAG-node" -6 address show tentative)" ]] || return 1
  for pod in "${PODS[@]}"; do
    read -r name _ <<<"$pod"
    [[ -s "$WORK/$name.ready" && -z "$(ip -n "$TAG-$name" -6 address show tentative)" ]] || return 1
  done
}

declare -A V4 V6
DIFFERENT=0
WORK="$(mktemp -d "/tmp/$TAG.XXXXXX")"
[[ "$APT" == no ]] || install_packages
build
BUILT=$SECONDS
plug_pods
write_objects
wait_for pods_ready || die "the pods did not start: $(cat "$WORK"/*.log)"
check_network
start_agent
say "traffic"
send_traffic
print_table
say "denied flows: podfence flows"
wait_for records_complete || { status -o json >&2; die "the records do not add up to what the kernel dropped"; }
"$PODFENCE" flows --socket "$SOCKET"
say "why: podfence explain clients/visitor shop/web:8080/TCP"
explained=0
"$PODFENCE" explain clients/visitor shop/web:8080/TCP --socket "$SOCKET" || explained=$?
((explained == 2)) || die "explain ended with $explained; 2 means denied"
if [[ "$KEEP" == yes ]]; then
  say "look around: ip netns exec $TAG-node nft list table inet podfence; objects in $WORK/objects; Enter ends it"
  read -r _ || true
fi
say "$((2 * ${#PAIRS[@]})) connections, $DIFFERENT of ${#PAIRS[@]} rows differ, $((SECONDS - BUILT)) s after the build"
((DIFFERENT == 0))
