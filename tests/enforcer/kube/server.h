#pragma once
// A TLS server with a thread for one connection after the other: it keeps what it is asked, and answers with the bytes
// that a test gives.
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/enforcer/kube/certificates.h"

namespace podfence::test {

struct Session {
  std::string sni;
  std::string version;
  std::string client;  // subject of its certificate
  std::string request;
};

class Server {
 public:
  using Tcp = boost::asio::ip::tcp;
  using Stream = boost::asio::ssl::stream<Tcp::socket>;

  Server(const std::string& address, const Pem& pem, std::string answer, int newest_tls = TLS1_3_VERSION,
         const std::string& client_ca = "")
      : tls_(boost::asio::ssl::context::tls_server),
        acceptor_(io_, Tcp::endpoint(boost::asio::ip::make_address(address), 0)),
        answer_(std::move(answer)) {
    tls_.use_certificate_chain(boost::asio::buffer(pem.certificate));
    tls_.use_private_key(boost::asio::buffer(pem.key), boost::asio::ssl::context::pem);
    ::SSL_CTX_set_max_proto_version(tls_.native_handle(), newest_tls);
    ::SSL_CTX_set_security_level(tls_.native_handle(), 0);
    if (!client_ca.empty()) {
      tls_.add_certificate_authority(boost::asio::buffer(client_ca));
      tls_.set_verify_mode(boost::asio::ssl::verify_peer | boost::asio::ssl::verify_fail_if_no_peer_cert);
    }
    thread_ = std::thread([this] { run(); });
  }
  ~Server() {
    ends_ = true;
    boost::system::error_code ec;
    boost::asio::io_context io;
    Tcp::socket(io).connect(acceptor_.local_endpoint(), ec);  // wakes accept()
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string port() const { return std::to_string(acceptor_.local_endpoint().port()); }
  std::vector<Session> sessions() {
    const std::lock_guard lock(mutex_);
    return sessions_;
  }

 private:
  void run() {
    while (true) {
      Stream stream(io_, tls_);
      boost::system::error_code ec;
      acceptor_.accept(stream.next_layer(), ec);
      if (ends_ || ec) return;
      serve(stream);
    }
  }

  void serve(Stream& stream) {
    boost::system::error_code ec;
    stream.handshake(boost::asio::ssl::stream_base::server, ec);
    if (ec) return;
    Session session;
    const char* name = ::SSL_get_servername(stream.native_handle(), TLSEXT_NAMETYPE_host_name);
    session.sni = name == nullptr ? "" : name;
    session.version = ::SSL_get_version(stream.native_handle());
    if (X509* peer = ::SSL_get1_peer_certificate(stream.native_handle())) {
      session.client = "known";
      ::X509_free(peer);
    }
    boost::asio::streambuf buffer(1 << 20);
    boost::asio::read_until(stream, buffer, "\r\n\r\n", ec);
    const auto data = buffer.data();
    session.request.assign(boost::asio::buffers_begin(data), boost::asio::buffers_end(data));
    {
      const std::lock_guard lock(mutex_);
      sessions_.push_back(session);
    }
    boost::asio::write(stream, boost::asio::buffer(answer_), ec);
    stream.next_layer().shutdown(Tcp::socket::shutdown_send, ec);
    std::array<char, 4096> rest{};  // until the client has gone, so that nothing is lost to a reset
    while (!ec) stream.next_layer().read_some(boost::asio::buffer(rest), ec);
  }

  boost::asio::io_context io_;
  boost::asio::ssl::context tls_;
  Tcp::acceptor acceptor_;
  std::string answer_;
  std::atomic<bool> ends_{false};
  std::mutex mutex_;
  std::vector<Session> sessions_;
  std::thread thread_;
};

}  // namespace podfence::test
