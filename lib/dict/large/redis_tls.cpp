#include "dict/large/redis_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <climits>

namespace roost {
namespace {

// The first error in OpenSSL's queue of this thread, which is emptied.
std::string reason() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char* const plain = code == 0 ? nullptr : ERR_reason_error_string(code);
    return plain == nullptr ? "unknown error" : plain;
}

Error bad_file(const std::string& what, const std::string& path) {
    return config_error("cannot use the " + what + " " + path, reason(),
                        "check that it is a PEM file and that this user may read it");
}

Error failed(std::string why) {
    return {Outcome::trouble, "TLS", "TLS failed: " + std::move(why),
            "check tls_ca=, tls_cert=, and that the server speaks TLS at this port", 0};
}

struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* stream) const { SSL_free(stream); }
};
using Context = std::unique_ptr<SSL_CTX, Free>;
using Stream = std::unique_ptr<SSL, Free>;

class OpenSslFilter : public TlsFilter {
public:
    // The stream reads from and writes to memory.
    explicit OpenSslFilter(Stream stream) : stream_(std::move(stream)) {}

    Result<void> put(std::string_view plain, std::string& wire) override;
    Result<void> take(std::string_view received, std::string& plain, std::string& wire) override;

private:
    Result<void> step();
    void collect(std::string& wire);
    Error failure() const;

    Stream stream_;
    std::string waiting_;  // plain text that is to be sent after the handshake
};

Result<void> OpenSslFilter::put(std::string_view plain, std::string& wire) {
    waiting_ += plain;
    auto done = step();
    collect(wire);
    return done;
}

Result<void> OpenSslFilter::take(std::string_view received, std::string& plain, std::string& wire) {
    ERR_clear_error();
    BIO_write(SSL_get_rbio(stream_.get()), received.data(), static_cast<int>(received.size()));
    auto done = step();
    std::array<char, 16384> buffer{};
    while (done && SSL_is_init_finished(stream_.get()) == 1) {
        const int size = SSL_read(stream_.get(), buffer.data(), static_cast<int>(buffer.size()));
        if (size > 0) {
            plain.append(buffer.data(), static_cast<std::size_t>(size));
            continue;
        }
        const int why = SSL_get_error(stream_.get(), size);
        if (why == SSL_ERROR_ZERO_RETURN) return failed("the server closed the connection");
        if (why != SSL_ERROR_WANT_READ) done = failure();
        break;
    }
    collect(wire);
    return done;
}

// Goes on with the handshake, and then with what waits to be sent. Memory takes all that is written.
Result<void> OpenSslFilter::step() {
    ERR_clear_error();
    if (SSL_is_init_finished(stream_.get()) != 1) {
        const int result = SSL_do_handshake(stream_.get());
        if (result != 1 && SSL_get_error(stream_.get(), result) == SSL_ERROR_WANT_READ) return {};
        if (result != 1) return failure();
    }
    std::size_t sent = 0;
    while (sent < waiting_.size()) {
        const auto size = static_cast<int>(std::min<std::size_t>(waiting_.size() - sent, INT_MAX));
        const int result = SSL_write(stream_.get(), waiting_.data() + sent, size);
        if (result <= 0) return failure();
        sent += static_cast<std::size_t>(result);
    }
    waiting_.clear();
    return {};
}

void OpenSslFilter::collect(std::string& wire) {
    char* bytes = nullptr;
    BIO* const memory = SSL_get_wbio(stream_.get());
    const long size = BIO_get_mem_data(memory, &bytes);
    if (size > 0) wire.append(bytes, static_cast<std::size_t>(size));
    BIO_reset(memory);
}

Error OpenSslFilter::failure() const {
    const long verified = SSL_get_verify_result(stream_.get());
    const std::string why = reason();
    if (verified == X509_V_OK) return failed(why);
    return failed(std::string("the server's certificate: ") + X509_verify_cert_error_string(verified));
}

Result<Context> make_context(const RedisTlsSettings& settings) {
    Context context(SSL_CTX_new(TLS_client_method()));
    if (!context) return config_error("cannot set up TLS", reason());
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    if (settings.ca.empty())
        SSL_CTX_set_default_verify_paths(context.get());
    else if (SSL_CTX_load_verify_locations(context.get(), settings.ca.c_str(), nullptr) != 1)
        return bad_file("authorities of tls_ca=", settings.ca);
    if (settings.certificate.empty()) return context;
    if (SSL_CTX_use_certificate_chain_file(context.get(), settings.certificate.c_str()) != 1)
        return bad_file("certificate of tls_cert=", settings.certificate);
    const std::string& key = settings.key.empty() ? settings.certificate : settings.key;
    if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context.get()) != 1)
        return bad_file("key of the certificate", key);
    return context;
}

}  // namespace

Result<std::unique_ptr<TlsFilter>> make_redis_tls(const RedisTlsSettings& settings, const std::string& host) {
    ERR_clear_error();
    auto context = make_context(settings);
    if (!context) return std::move(context).error();
    Stream stream(SSL_new(context->get()));
    if (!stream) return config_error("cannot set up TLS", reason());
    BIO* const in = BIO_new(BIO_s_mem());
    BIO* const out = BIO_new(BIO_s_mem());
    SSL_set_bio(stream.get(), in, out);  // which own them now
    SSL_set_connect_state(stream.get());
    // (SSL_set_tlsext_host_name() is a macro with a cast of C.)
    // An address is looked for among the certificate's addresses, a name among its names (RFC 6125) and is sent as SNI.
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream.get()), host.c_str()) != 1) {
        ERR_clear_error();
        if (SSL_set1_host(stream.get(), host.c_str()) != 1 ||
            SSL_ctrl(stream.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                     const_cast<char*>(host.c_str())) != 1)
            return config_error("cannot set up TLS to " + host, reason());
    }
    return std::unique_ptr<TlsFilter>(std::make_unique<OpenSslFilter>(std::move(stream)));
}

}  // namespace roost
