#pragma once
// Cases as data: tests/cases/*.yaml. One file is a map:
//   world: three               # optional: worlds/three.yaml, a list of objects that every case starts from
//   node: n1                   # the node that judges, unless a case or a flow says otherwise
//   objects: [...]             # more objects for every case of the file
//   cases:
//     - case: a sentence
//       rows: [I-02, I-04]        # rows of tests/cases/rows.txt
//       node: n2  fail_closed: false  golden: name     # optional; golden/name.table.nft holds the printed table
//       objects: [...]            # Kubernetes objects as kubectl prints them; they go through the real decoders
//       expect_errors: [text]     # what decode errors must contain; without it there must be none
//       flows:
//         - {from: x/a, to: [x/b, 192.0.2.7], port: [80, 81], protocol: TCP, verdict: deny,
//            family: 4, at: n2 | everywhere, policies: [x/p], reason: default_deny}
//       then: [{step: a sentence, upsert: [...], delete: [{kind: Pod, namespace: x, name: a, uid: u}], flows: [...],
//               unchanged: true}] # unchanged: the step must give the kernel nothing to do
// Lists in from, to and port mean every combination of one family; a dual-stack pod all its pairs. ICMP is the ping of
// the family. A file that breaks these rules throws std::runtime_error: a case must never be skipped in silence.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "policy/net/flow.h"
#include "policy/store/cluster.h"

namespace podfence::test {

struct CaseFlow {
  std::string from;  // "namespace/pod" or an address
  std::string to;
  std::optional<net::Family> family;
  net::Protocol protocol = net::tcp;
  net::Port port;
  bool allowed = false;
  std::optional<std::vector<std::string>> policies;  // "namespace/name" of those that had a say, sorted
  std::optional<std::string> reason;
  std::string at;            // the node that judges; empty: every node of the path together
  std::string text() const;  // "x/a -> x/b:80/TCP at n1"
};

struct CaseStep {
  std::string name;
  std::vector<store::Event> events;
  std::vector<std::string> errors;  // that the decoders reported
  std::vector<std::string> expect_errors;
  std::vector<CaseFlow> flows;
  bool unchanged = false;
};

struct Case {
  std::string file;  // stem: "isolation"
  std::string name;
  std::vector<std::string> rows;
  std::string node;
  bool fail_closed = true;
  std::string golden;  // empty: none
  std::vector<CaseStep> steps;
  /// Letters, digits and underscores: "isolation_I_02_a_selected_pod_..."
  std::string slug() const;
};

/// Every case of every *.yaml directly in `directory`, by file name and then in their order.
std::vector<Case> load_cases(const std::filesystem::path& directory);

/// Every *.yaml of `directory` is one case file; this loads just one.
std::vector<Case> load_case_file(const std::filesystem::path& file);

/// What the flow is on the wire, with the addresses that its pods have in `cluster`: every pair of one family. Empty
/// when a pod has no address (of that family); throws when a pod is not known.
std::vector<net::Flow> flows_of(const CaseFlow& flow, const store::Cluster& cluster);

/// The same case in a cluster without IPv4: pods, nodes and pod ranges keep their IPv6 addresses, flows of a literal
/// IPv4 address are left out (conformance 6-02).
Case only_ipv6(Case original);

}  // namespace podfence::test
