#include "enforcer/install/plan.h"

#include <algorithm>
#include <array>

namespace podfence::install {
namespace {

/// They give the pod something else than one end of a veth pair that the node can see: podfence-cni would refuse every
/// pod of the node, so the installation is refused.
constexpr std::array<std::string_view, 12> no_veth{"macvlan", "ipvlan", "vlan", "host-device", "sriov",    "ib-sriov",
                                                   "tap",     "dummy",  "ovs",  "antrea",      "kube-ovn", "loopback"};
constexpr std::array<std::string_view, 13> veth{"bridge",     "ptp",   "flannel",    "calico",    "aws-cni",
                                                "azure-vnet", "canal", "kindnet",    "weave-net", "cilium-cni",
                                                "gke",        "k3s",   "kube-router"};

template <class List>
bool contains(const List& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

Result<> check_versions(const ConfFile& primary, const std::vector<std::string>& versions) {
  if (!contains(versions, primary.cni_version)) {
    return fail(Errc::refused, primary.name + ": cniVersion: is " + primary.cni_version +
                                   ", and the plugin speaks only " + joined(versions) +
                                   "; the version is never changed for its sake");
  }
  for (const auto& version : primary.cni_versions) {
    if (!contains(versions, version)) {
      return fail(Errc::refused,
                  primary.name + ": cniVersions: has " + version + ", and the plugin speaks only " + joined(versions));
    }
  }
  return {};
}

Result<> check_chain(const ConfFile& primary, Want& want) {
  for (const auto& entry : primary.plugins) {
    if (entry.type != plugin_type) want.types.push_back(entry.type);
  }
  if (want.types.empty()) {
    return fail(Errc::refused, primary.name + ": plugins: there is nothing but podfence-cni, which makes no interface");
  }
  const auto& first = want.types.front();
  if (contains(no_veth, first)) {
    return fail(Errc::refused, primary.name + ": plugins[0].type: " + first +
                                   " gives pods no veth pair, and podfence-cni would refuse every one of them");
  }
  if (first == "multus" || first == "multus-shim") {
    return fail(Errc::refused, primary.name + ": plugins[0].type: " + first +
                                   " hands pods on to another network's list: use --mode in-place --primary with the "
                                   "name of that list");
  }
  if (!contains(veth, first)) {
    want.warnings.push_back(primary.name + ": plugins[0].type: " + first +
                            " is not known here; pods are refused if it does not make a veth pair");
  }
  for (const auto& entry : primary.plugins) {
    if (entry.type == plugin_type && !entry.mark) {
      want.warnings.push_back(primary.name + ": has an entry of podfence-cni that was put in by hand");
    }
  }
  return {};
}

Result<> own(const ConfFile& primary, const Options& options, const Scan& scan, Want& want) {
  auto name = first_name(scan);
  if (!name) return fail(name.error());
  want.name = std::move(*name);
  want.bytes = chained(primary, entry_text(options.entry, {Mode::own, primary.name}));
  const auto& first = scan.theirs.front().conf.name;
  if (first != primary.name) {
    want.warnings.push_back(first + ": sorts before " + primary.name + ", and is no longer what the runtime takes");
  }
  return {};
}

Result<> drop_in(const ConfFile& primary, const Options& options, const Scan& scan, Want& want) {
  if (!primary.is_list) {
    return fail(Errc::refused, primary.name + ": is a single plugin, and drop-ins are for lists: use --mode own");
  }
  if (primary.only_inlined) {
    return fail(Errc::refused, primary.name + ": loadOnlyInlinedPlugins: is true, so drop-ins are not read");
  }
  want.directory = primary.network;
  // A list of ours sorts before the primary's, and it is the one that is read while it is there.
  const auto& read_now = scan.own.empty() ? primary : scan.own.front().conf;
  want.entries = static_cast<std::size_t>(std::count_if(read_now.plugins.begin(), read_now.plugins.end(),
                                                        [](const auto& entry) { return entry.type == plugin_type; }));
  want.name = drop_in_name;
  want.bytes = entry_text(options.entry, {Mode::drop_in, primary.name}) + "\n";
  return {};
}

Result<> in_place(const Found& found, const Options& options, Want& want) {
  const auto& primary = found.conf;
  if (!primary.is_list) {
    return fail(Errc::refused, primary.name + ": is a single plugin, which cannot be chained: use --mode own");
  }
  if (found.is_link) {
    return fail(Errc::refused, primary.name + ": is a symbolic link, which in-place would replace: use --mode own");
  }
  want.name = primary.name;
  want.original = unchained(primary);
  if (primary.has_ours() && want.original == primary.bytes) {  // by hand; it is as good as ours
    want.bytes = primary.bytes;
    return {};
  }
  auto plain = parse_conf(primary.name, want.original);
  if (!plain) return fail(std::move(plain).error().in(primary.name));
  want.bytes = chained(*plain, entry_text(options.entry, {Mode::in_place, primary.name}));
  return {};
}

}  // namespace

Result<Want> plan(const Options& options, const Scan& scan, const std::vector<std::string>& versions,
                  const std::string& last_primary) {
  if (const auto* bad = options.primary.empty() ? scan.bad_named(last_primary) : nullptr) {
    return fail(Errc::busy, last_primary + ": " + bad->problem + "; what was installed from it stays");
  }
  const auto found = choose_primary(scan, options.primary);
  if (!found) return fail(found.error());
  const auto& primary = (*found)->conf;
  Want want;
  want.primary = primary.name;
  want.network = primary.network;
  for (const auto& bad : scan.bad) want.warnings.push_back(bad.name + ": " + bad.problem + "; it is passed over");
  if (auto good = check_versions(primary, versions).and_then([&] { return check_chain(primary, want); }); !good) {
    return fail(good.error());
  }
  const auto made = options.mode == Mode::own       ? own(primary, options, scan, want)
                    : options.mode == Mode::drop_in ? drop_in(primary, options, scan, want)
                                                    : in_place(**found, options, want);
  if (!made) return fail(made.error());
  return want;
}

}  // namespace podfence::install
