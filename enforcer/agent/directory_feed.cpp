#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "enforcer/agent/feed.h"
#include "enforcer/source/directory_source.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::milliseconds event_pause{10};  // files come in bursts: take them together

std::optional<FileProblem> problem_of(const source::FileStatus& file) {
  if (!file.has_errors() && !file.stale) return std::nullopt;
  FileProblem problem{file.file, file.stale, {}};
  for (const auto& diagnostic : file.diagnostics) {
    if (diagnostic.severity == api::Severity::error) problem.messages.push_back(diagnostic.text());
  }
  return problem;
}

class DirectoryFeed final : public Feed {
 public:
  DirectoryFeed(asio::io_context& io, source::DirectorySource source, Taker& taker)
      : io_(io), source_(std::move(source)), taker_(taker), fd_(io), timer_(io) {
    fd_.assign(source_.fd());
  }
  ~DirectoryFeed() override { stop(); }
  DirectoryFeed(const DirectoryFeed&) = delete;
  DirectoryFeed& operator=(const DirectoryFeed&) = delete;

  void resume(const archive::Origin& /*origin*/) override {}  // its files are here: no checkpoint is kept of them

  void start() override {
    wait();
    asio::post(io_, [this] { give(source_.rescan()); });
  }

  void stop() override {
    if (fd_.is_open()) fd_.release();
  }

  std::vector<FileProblem> problems() const override {
    std::vector<FileProblem> all;
    for (const auto& file : source_.files()) {
      if (auto problem = problem_of(file)) all.push_back(std::move(*problem));
    }
    return all;
  }

  std::vector<WatchedType> types() const override { return {}; }

 private:
  void give(source::Batch batch) { taker_.take(std::move(batch.events), batch.synced); }

  /// While it pauses, the descriptor is readable all the time, and is not waited for.
  void wait() {
    fd_.async_wait(Descriptor::wait_read, [this](error_code ec) {
      if (ec) return;
      timer_.expires_after(event_pause);
      timer_.async_wait([this](error_code cancelled) {
        if (cancelled) return;
        give(source_.poll());
        if (fd_.is_open()) wait();
      });
    });
  }

  asio::io_context& io_;
  source::DirectorySource source_;
  Taker& taker_;
  Descriptor fd_;
  asio::steady_timer timer_;
};

}  // namespace

Result<std::unique_ptr<Feed>> open_directory_feed(asio::io_context& io, const Config& config, Feed::Taker& taker) {
  const auto directory = source_directory(config.source);
  if (!directory) return fail(directory.error());
  auto source =
      source::DirectorySource::open(*directory, {.limits = {}, .last_good_directory = config.state_dir + "/last-good"});
  if (!source) return fail(std::move(source.error()).in(config.source));
  return std::make_unique<DirectoryFeed>(io, std::move(*source), taker);
}

Result<std::unique_ptr<Feed>> open_feed(asio::io_context& io, const Config& config, Feed::Taker& taker) {
  return is_kubernetes(config) ? open_kubernetes_feed(io, config, taker) : open_directory_feed(io, config, taker);
}

}  // namespace podfence::agent
