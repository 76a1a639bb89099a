#include "enforcer/agent/checkpoints.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <filesystem>

namespace podfence::agent {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr milliseconds settle = 1s;  // changes come in bursts
constexpr milliseconds least_pause = 10s;
constexpr std::size_t bytes_a_second = 128 * 1024;  // no more than that in the long run: disks wear out

/// Signals are the main thread's.
std::thread quiet_thread(std::function<void()> work) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  std::thread thread(std::move(work));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Checkpoints::Checkpoints(boost::asio::io_context& io, const Config& config, Describe describe)
    : io_(io),
      node_(config.node),
      describe_(std::move(describe)),
      file_(checkpoint_file(config)),
      mark_(std::filesystem::path(config.socket).parent_path().string()),
      timer_(io) {
  status_.file = file_.path();
}

Checkpoints::~Checkpoints() {
  if (thread_.joinable()) thread_.join();
}

std::optional<Checkpoints::World> Checkpoints::restore(const std::function<bool()>& table_is_there) {
  World world;
  const auto head = file_.load(node_, [&](api::Object o) { world.events.emplace_back(store::Upsert{std::move(o)}); });
  if (!head) {
    if (head.error().code() != Errc::not_found) reject(head.error().what());
    return std::nullopt;
  }
  content_ = head->content;
  encoded_bytes_ = head->bytes;
  status_.bytes = head->bytes;
  status_.written = Clock::time_point(std::chrono::seconds(head->origin.written));
  if (!mark_.covers(head->content) && table_is_there()) {
    reject(file_.path() + ": the kernel's table may be newer, and stays as it is");
    return std::nullopt;
  }
  cover(head->content);
  status_.enforced = true;
  world.origin = head->origin;
  return world;
}

void Checkpoints::reject(const std::string& why) {
  ++status_.rejected;
  status_.ignored = why;
  spdlog::warn("event=checkpoint_ignored why=\"{}\"", why);
}

void Checkpoints::before_commit() {
  moved_ = true;
  uncover();
}

void Checkpoints::before_plugged_in() {
  if (changed_) return before_commit();
  if (saving_) uncover();  // what is being written holds it, what is on the disk may not
}

void Checkpoints::uncover() {
  if (!std::exchange(may_be_marked_, false)) return;
  if (const auto dropped = mark_.drop(); !dropped) {
    may_be_marked_ = true;
    spdlog::warn("event=checkpoint_mark_stays error=\"{}\"", dropped.error().what());
  }
}

void Checkpoints::cover(std::uint64_t content) {
  may_be_marked_ = true;
  if (const auto put = mark_.put(content); !put) {
    spdlog::warn("event=checkpoint_mark_missing error=\"{}\"", put.error().what());
  }
}

void Checkpoints::changed() {
  changed_ = true;
  if (saving_ || armed_) return;
  const auto wait = not_before_ - std::chrono::steady_clock::now();
  arm(std::max(settle, std::chrono::duration_cast<milliseconds>(wait)));
}

void Checkpoints::arm(milliseconds pause) {
  armed_ = true;
  timer_.expires_after(pause);
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    armed_ = false;
    write();
  });
}

milliseconds Checkpoints::pause() const {
  return std::max(least_pause, milliseconds(encoded_bytes_ * 1000 / bytes_a_second));
}

void Checkpoints::write() {
  changed_ = moved_ = false;
  archive::Encoder encoder(encoded_bytes_ + encoded_bytes_ / 8);
  archive::Origin origin;
  describe_(encoder, origin);
  const auto when = Clock::now();
  origin.node = node_;
  origin.boot = checkpoint::boot_id();
  origin.written = std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count();
  auto bytes = std::move(encoder).finish(origin);
  encoded_bytes_ = bytes.all.size();
  not_before_ = std::chrono::steady_clock::now() + pause();
  if (content_ == bytes.content) {
    if (!may_be_marked_) cover(bytes.content);
    return;
  }
  saving_ = true;
  if (thread_.joinable()) thread_.join();
  thread_ = quiet_thread([this, when, content = bytes.content, text = std::move(bytes.all)] {
    auto result = file_.save(text);
    boost::asio::post(io_, [this, when, content, size = text.size(), result = std::move(result)] {
      saved(result, content, size, when);
    });
  });
}

void Checkpoints::saved(const Result<>& result, std::uint64_t content, std::size_t bytes, Clock::time_point when) {
  saving_ = false;
  if (result) {
    if (!status_.error.empty()) spdlog::info("event=checkpoint_written file={} again=true", file_.path());
    ++status_.writes;
    status_.error.clear();
    status_.written = when;
    status_.bytes = bytes;
    content_ = content;
    if (!moved_) cover(content);
  } else {
    ++status_.failures;
    content_.reset();
    const auto& error = result.error().what();
    if (error != status_.error) spdlog::warn("event=checkpoint_not_written error=\"{}\"", error);
    status_.error = error;
  }
  if (!result || changed_) changed();
}

void Checkpoints::stop() {
  timer_.cancel();
}

void describe(const store::Cluster& cluster, const std::string& node, const sandbox::Join& join,
              const std::vector<FileProblem>& problems, archive::Encoder& encoder, archive::Origin& origin) {
  for (const auto& [name, object] : cluster.namespaces()) encoder.add(object);
  for (const auto& [name, object] : cluster.nodes()) encoder.add(object);
  for (const auto& [name, object] : cluster.pods()) {
    const auto* given = object.node == node ? join.given({name.first, name.second}) : nullptr;
    encoder.add(given == nullptr ? object : *given);
  }
  for (const auto& [name, object] : cluster.policies()) encoder.add(object);
  if (const auto* system = cluster.find_namespace("kube-system")) origin.cluster = system->meta.uid;
  for (const auto& problem : problems) {
    if (!problem.stale) origin.narrow.push_back(problem.file);
  }
}

void forget_stale_addresses(std::vector<store::Event>& events, const std::string& node, bool of_this_boot,
                            const std::function<bool(const net::IpAddr&)>& plugged_in) {
  for (auto& event : events) {
    auto* upsert = std::get_if<store::Upsert>(&event);
    auto* pod = upsert == nullptr ? nullptr : std::get_if<api::Pod>(&upsert->object);
    if (pod == nullptr || pod->host_network) continue;
    if (pod->node != node) {
      pod->ips.erase(std::remove_if(pod->ips.begin(), pod->ips.end(), plugged_in), pod->ips.end());
    } else if (!of_this_boot) {
      pod->ips.clear();
    }
  }
}

}  // namespace podfence::agent
