#pragma once
// Certificates for one test: an authority, and what it signs, as PEM.
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace podfence::test {

struct Pem {
  std::string certificate;
  std::string key;
};

struct Wanted {
  std::string names;    // "IP:127.0.0.1,DNS:api.example"; "" = none
  long begins = -3600;  // seconds from now
  long ends = 3600;
};

class Authority {
 public:
  Authority() : key_(new_key()), certificate_(make("test authority", *key_, nullptr, *key_, {})) {}

  std::string pem() const { return text(*certificate_); }

  Pem sign(const Wanted& wanted) const {
    const auto key = new_key();
    return {text(*make("test", *key, certificate_.get(), *key_, wanted)), text(*key)};
  }
  /// Signed by itself.
  static Pem self_signed(const Wanted& wanted) {
    const auto key = new_key();
    return {text(*make("test", *key, nullptr, *key, wanted)), text(*key)};
  }

 private:
  template <auto release>
  struct Releaser {
    template <class T>
    void operator()(T* object) const {
      release(object);
    }
  };
  using Key = std::unique_ptr<EVP_PKEY, Releaser<EVP_PKEY_free>>;
  using Certificate = std::unique_ptr<X509, Releaser<X509_free>>;

  static Key new_key() { return Key(EVP_EC_gen("P-256")); }

  static Certificate make(const std::string& name, EVP_PKEY& key, X509* issuer, EVP_PKEY& issuer_key,
                          const Wanted& wanted) {
    Certificate out(X509_new());
    X509_set_version(out.get(), 2);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(out.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(out.get()), wanted.begins);
    X509_gmtime_adj(X509_getm_notAfter(out.get()), wanted.ends);
    X509_set_pubkey(out.get(), &key);
    std::basic_string<unsigned char> bytes(name.begin(), name.end());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_ASC, bytes.data(), -1, -1, 0);
    X509_set_issuer_name(out.get(), X509_get_subject_name(issuer == nullptr ? out.get() : issuer));
    if (issuer == nullptr) extend(*out, NID_basic_constraints, "critical,CA:TRUE");
    if (!wanted.names.empty()) extend(*out, NID_subject_alt_name, wanted.names);
    if (X509_sign(out.get(), &issuer_key, EVP_sha256()) == 0) throw std::runtime_error("X509_sign");
    return out;
  }

  static void extend(X509& certificate, int what, const std::string& value) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str());
    if (extension == nullptr) throw std::runtime_error("extension " + value);
    X509_add_ext(&certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  template <class Write>
  static std::string written(const Write& write) {
    std::unique_ptr<BIO, Releaser<BIO_free_all>> bio(BIO_new(BIO_s_mem()));
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
  static std::string text(X509& certificate) {
    return written([&](BIO* bio) { PEM_write_bio_X509(bio, &certificate); });
  }
  static std::string text(EVP_PKEY& key) {
    return written([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, &key, nullptr, nullptr, 0, nullptr, nullptr); });
  }

  Key key_;
  Certificate certificate_;
};

}  // namespace podfence::test
