#include "tests/netns/stage.h"

#include <chrono>
#include <stdexcept>

#include "enforcer/kernel/nft_kernel.h"
#include "policy/compile/compile.h"
#include "policy/diff/diff.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

std::vector<api::Object> usual_objects() {
  return {ns("default"),
          node("n1").ip(n1_4).ip(n1_6).pod_cidr("10.0.1.0/24").pod_cidr("fd00:1::/64"),
          node("n2").ip(n2_4).ip(n2_6),
          pod("a").label("app", "a").ip(a4).ip(a6),
          pod("b").label("app", "b").ip(b4).ip(b6),
          pod("c").label("app", "c").ip(c4).ip(c6).node("n2")};
}

store::Cluster usual_cluster(std::vector<api::Object> more) {
  auto objects = usual_objects();
  for (auto& object : more) objects.push_back(std::move(object));
  return cluster_of(std::move(objects));
}

program::Program compiled(const store::Cluster& cluster) {
  compile::Settings settings;
  settings.node = "n1";
  return compile::compile(cluster, settings);
}

TopologySpec spec_of(Attachment attachment) {
  TopologySpec spec{{ip(n1_4), ip(n1_6)}, {{ip(a4), ip(a6)}, {ip(b4), ip(b6)}}};
  spec.attachment = attachment;
  return spec;
}

void commit(const diff::Changes& changes) {
  auto kernel = kernel::NftKernel::open();
  if (!kernel) throw std::runtime_error(kernel.error().what());
  const auto done = (*kernel)->commit(changes);
  if (!done) throw std::runtime_error(done.error().error.what());
}

}  // namespace

Stage::Stage(std::vector<api::Object> policies, Attachment attachment)
    : cluster_(usual_cluster(std::move(policies))),
      program_(compiled(cluster_)),
      topology_(spec_of(attachment)),
      prober_(topology_) {
  load(program_);
}

void Stage::apply(std::vector<api::Object> objects) {
  for (auto& event : events_of(std::move(objects))) cluster_.apply(std::move(event));
  follow();
}

void Stage::remove(const api::Object& object) {
  cluster_.apply(store::Remove{api::key_of(object), {}});
  follow();
}

void Stage::follow() {
  auto next = compiled(cluster_);
  commit(diff::changes_between(program_, next));
  program_ = std::move(next);
}

Probe Stage::probe_of(std::string_view source, std::string_view destination, net::Protocol protocol,
                      std::uint16_t port) {
  Probe probe;
  probe.flow = flow(source, destination, protocol, port);
  return probe;
}

bool Stage::passes(std::string_view source, std::string_view destination, net::Protocol protocol, std::uint16_t port) {
  const auto probe = probe_of(source, destination, protocol, port);
  const auto outcome = prober_.run(probe);
  const bool arrived = outcome.arrived == topology_.place_of(probe.flow.destination);
  if (arrived && is_answered(protocol) && !outcome.answered) throw std::runtime_error("arrived, but no answer came");
  return arrived;
}

api::Object deny_all(std::string name, const Pairs& selected) {
  return policy(std::move(name)).selects(selected).deny_ingress().deny_egress();
}

void add_foreign_rules(const std::string& text) {
  const auto done = run_with_input("nft -f -", text);
  if (done.status != 0) throw std::runtime_error("nft -f: " + done.output);
}

}  // namespace podfence::test
