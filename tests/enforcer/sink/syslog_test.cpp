// Messages as RFC 5424 has them, entries of the journal, and what sockets get.
#include "enforcer/sink/syslog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <thread>

namespace podfence::sink {
namespace {

namespace asio = boost::asio;

std::string record(const std::string& type, const std::string& more = "") {
  return R"({"schema":"podfence.flow/v1","type":")" + type +
         R"(","id":"n:a:1","seq":1,"time":"2026-11-23T17:30:00.123456Z")" + more + "}";
}

TEST(SyslogMessage, HasPriorityTimeAndNode) {
  const auto flow = record("flow", R"(,"verdict":"deny")");
  EXPECT_EQ(syslog_message("node-a", flow), "<132>1 2026-11-23T17:30:00.123456Z node-a podfence - flow - " + flow);
  const auto starts = [](const std::string& line) { return syslog_message("n", line).substr(0, 6); };
  EXPECT_EQ(starts(record("agent", R"(,"event":"start")")), "<134>1");
  EXPECT_EQ(starts(record("loss")), "<132>1");
  EXPECT_EQ(starts(record("detection", R"(,"severity":"critical")")), "<130>1");
  EXPECT_EQ(starts(record("detection", R"(,"severity":"high")")), "<131>1");
  EXPECT_EQ(syslog_message("a b\x01\xff", "no record"), "<132>1 - a?b?? podfence - - - no record");
}

TEST(JournalEntry, IsFieldsByLines) {
  const auto entry = journal_entry(record(
      "flow",
      R"(,"verdict":"deny","reason":"default_deny","source":{"type":"pod","k8s":{"namespace":"shop","pod":"a\nX=1"}})"));
  EXPECT_THAT(entry, testing::StartsWith("MESSAGE=2026-11-23"));
  for (const char* part : {"\nPRIORITY=4\n", "\nSYSLOG_IDENTIFIER=podfence-flows\n", "\nPODFENCE_TYPE=flow\n",
                           "\nPODFENCE_REASON=default_deny\n", "\nPODFENCE_SOURCE_NAMESPACE=shop\n"}) {
    EXPECT_THAT(entry, testing::HasSubstr(part));
  }
  EXPECT_THAT(entry, testing::Not(testing::HasSubstr("\nX=1"))) << "a name adds no field";
}

TEST(SyslogTarget, IsParsedOrRefusedByName) {
  const auto udp = parse_syslog_target("udp://[::1]");
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->host + " " + udp->port, "::1 514");
  const auto tcp = parse_syslog_target("tcp://log.example:6514");
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->host + " " + tcp->port, "log.example 6514");
  EXPECT_EQ(parse_syslog_target("tcp://a")->port, "601");
  EXPECT_EQ(parse_syslog_target("unix:/dev/log")->path, "/dev/log");
  for (const std::string& text :
       {std::string(), std::string("a"), std::string("udp://"), std::string("udp://:514"), std::string("udp://a:0"),
        std::string("udp://a:x"), std::string("tls://a"), std::string("udp://a/b"), std::string("udp://a b"),
        std::string("unix:dev/log"), "unix:/" + std::string(120, 'x'), std::string("udp://[::1")}) {
    const auto target = parse_syslog_target(text);
    ASSERT_FALSE(target) << text;
    EXPECT_EQ(target.error().what().find("syslog '" + text + "': expected udp://"), 0U) << target.error().what();
  }
}

Outcome outcome_of(asio::io_context& io, Sink& sink, const std::vector<std::string>& lines) {
  std::optional<Outcome> got;
  sink.send(lines, [&](Outcome outcome) { got = std::move(outcome); });
  EXPECT_FALSE(got) << "never from within send()";
  io.restart();
  io.run();
  return got.value_or(Outcome{Outcome::Kind::retry, 0, {}, "never called"});
}

TEST(SyslogSink, SendsDatagrams) {
  asio::io_context io;
  asio::ip::udp::socket ear(io, {asio::ip::make_address("127.0.0.1"), 0});
  auto target = *parse_syslog_target("udp://127.0.0.1:" + std::to_string(ear.local_endpoint().port()));
  SyslogSink sink(io, target, "node-a");
  const std::vector<std::string> lines{record("agent"),
                                       record("loss", R"(,"stage":")" + std::string(9000, 'x') + "\"")};
  const auto outcome = outcome_of(io, sink, lines);
  EXPECT_EQ(outcome.kind, Outcome::Kind::taken) << outcome.error;
  EXPECT_EQ(outcome.rejected, 1U) << "longer than a datagram may be";
  std::string heard(10'000, ' ');
  heard.resize(ear.receive(asio::buffer(heard)));
  EXPECT_EQ(heard, syslog_message("node-a", lines[0]));
}

TEST(SyslogSink, CountsOctetsOverTcpAndWaitsForTheEnd) {
  asio::io_context io;
  asio::io_context server_io;
  asio::ip::tcp::acceptor acceptor(server_io, {asio::ip::make_address("127.0.0.1"), 0});
  SyslogSink sink(io, *parse_syslog_target("tcp://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port())), "n");
  const std::vector<std::string> lines{record("agent"),
                                       record("loss", R"(,"stage":")" + std::string(9000, 'x') + "\"")};
  std::string heard;
  std::thread server([&] {
    auto peer = acceptor.accept();
    boost::system::error_code ec;
    asio::read(peer, asio::dynamic_buffer(heard), ec);
  });
  const auto outcome = outcome_of(io, sink, lines);
  server.join();
  EXPECT_EQ(outcome.kind, Outcome::Kind::taken) << outcome.error;
  std::string expected;
  for (const auto& line : lines) {
    const auto message = syslog_message("n", line);
    expected += std::to_string(message.size()) + " " + message;
  }
  EXPECT_EQ(heard, expected);

  std::thread rude([&] {  // reads nothing and resets
    auto peer = acceptor.accept();
    peer.set_option(asio::socket_base::linger(true, 0));
    peer.close();  // a destructor would end it in peace
  });
  EXPECT_EQ(outcome_of(io, sink, lines).kind, Outcome::Kind::retry);
  rude.join();
  acceptor.close();
  EXPECT_EQ(outcome_of(io, sink, lines).kind, Outcome::Kind::retry);
}

TEST(JournaldSink, SendsToTheJournalsSocket) {
  const std::string path = "/tmp/podfence-journal-" + std::to_string(::getpid());
  asio::io_context io;
  JournaldSink sink(io, path);
  EXPECT_EQ(outcome_of(io, sink, {record("agent")}).kind, Outcome::Kind::retry) << "no journal yet";
  const int ear = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(ear, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address)), 0);
  EXPECT_EQ(outcome_of(io, sink, {record("agent")}).kind, Outcome::Kind::taken);
  std::string heard(10'000, ' ');
  heard.resize(static_cast<std::size_t>(::recv(ear, heard.data(), heard.size(), 0)));
  EXPECT_EQ(heard, journal_entry(record("agent")));
  ::close(ear);
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace podfence::sink
