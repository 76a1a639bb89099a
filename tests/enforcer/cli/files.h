#pragma once
// Files for one test, in a directory that goes with it.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace podfence::test {

class Files {
 public:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "podfence-cli-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = name;
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() { std::filesystem::remove_all(root_); }

  /// Its full name.
  std::string write(const std::string& name, std::string_view text) const {
    const auto path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }
  std::string path(const std::string& name = "") const {
    return name.empty() ? root_.string() : (root_ / name).string();
  }

 private:
  std::filesystem::path root_;
};

/// Two nodes; shop/web and shop/api on n1, db/pg (dual stack, named port) on n2, db/old has ended, db/new waits.
/// db/pg takes only shop/api on its named port and everybody on UDP 53; shop/web may only go out to 192.0.2.0/24.
inline constexpr std::string_view shop_world = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: db}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.1.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDRs: [10.2.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.6}, {ip: "fd00:1::6"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pg, namespace: db, labels: {app: pg}}
spec: {nodeName: n2, containers: [{name: c, image: i, ports: [{name: postgres, containerPort: 5432}]}]}
status: {phase: Running, podIPs: [{ip: 10.2.0.7}, {ip: "fd00:2::7"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: db, labels: {app: pg}}
spec: {nodeName: n2, containers: [{name: c, image: i}]}
status: {phase: Succeeded, podIPs: [{ip: 10.2.0.8}]}
---
apiVersion: v1
kind: Pod
metadata: {name: new, namespace: db}
spec: {nodeName: n2, containers: [{name: c, image: i}]}
status: {phase: Pending}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: pg-in, namespace: db}
spec:
  podSelector: {matchLabels: {app: pg}}
  ingress:
    - from: [{namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: api}}}]
      ports: [{port: postgres}]
    - ports: [{port: 53, protocol: UDP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-out, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
)";

}  // namespace podfence::test
