#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <climits>

namespace roost::net {
namespace {

// The first error in OpenSSL's queue of this thread, which is emptied.
std::string reason() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "the peer closed the connection";
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    const char* const plain = ERR_reason_error_string(code);
    return plain == nullptr ? text.data() : plain;
}

Error bad_file(const std::string& what, const std::string& path) {
    return config_error("cannot use the " + what + " " + path, reason(),
                        "check lmtp.tls-certificate, lmtp.tls-key, and that the daemon's user may read the files");
}

struct FreeContext {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeStream {
    void operator()(SSL* stream) const { SSL_free(stream); }
};

}  // namespace

struct TlsContext::Impl {
    std::unique_ptr<SSL_CTX, FreeContext> context;
};

struct TlsStream::Impl {
    std::unique_ptr<SSL, FreeStream> stream;

    // What a call that returned `result` asks for.
    Wants wants(int result) const {
        switch (SSL_get_error(stream.get(), result)) {
            case SSL_ERROR_WANT_READ:
                return Wants::read;
            case SSL_ERROR_WANT_WRITE:
                return Wants::write;
            default:
                return Wants::nothing;
        }
    }
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::load(const std::string& certificate, const std::string& key) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>();
    impl->context.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* const context = impl->context.get();
    if (context == nullptr) return config_error("cannot set up TLS", reason());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    // An MTA keeps its connection rather than resuming it; idle connections shall hold no buffers.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
        return bad_file("certificate", certificate);
    const std::string& key_path = key.empty() ? certificate : key;
    if (SSL_CTX_use_PrivateKey_file(context, key_path.c_str(), SSL_FILETYPE_PEM) != 1) return bad_file("key", key_path);
    if (SSL_CTX_check_private_key(context) != 1) return bad_file("key", key_path);
    return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));  // NOLINT: the constructor is private
}

TlsStream::TlsStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsStream::~TlsStream() = default;

Result<std::unique_ptr<TlsStream>> TlsStream::make(TlsContext& context, int fd) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>();
    impl->stream.reset(SSL_new(context.impl().context.get()));
    if (!impl->stream || SSL_set_fd(impl->stream.get(), fd) != 1)
        return Error{Outcome::trouble, "cannot start TLS", reason(), {}, 0};
    SSL_set_accept_state(impl->stream.get());
    return std::unique_ptr<TlsStream>(new TlsStream(std::move(impl)));  // NOLINT: the constructor is private
}

Result<TlsStream::Wants> TlsStream::handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(impl_->stream.get());
    if (result == 1) return Wants::nothing;
    const Wants wants = impl_->wants(result);
    if (wants == Wants::nothing) return Error{Outcome::trouble, "the TLS handshake failed", reason(), {}, 0};
    return wants;
}

TlsStream::Step TlsStream::read(std::span<char> buffer) {
    ERR_clear_error();
    const int result =
        SSL_read(impl_->stream.get(), buffer.data(), static_cast<int>(std::min<std::size_t>(buffer.size(), INT_MAX)));
    if (result > 0) return {static_cast<std::size_t>(result), Wants::nothing};
    return {0, impl_->wants(result)};
}

TlsStream::Step TlsStream::write(std::string_view bytes) {
    ERR_clear_error();
    const int result =
        SSL_write(impl_->stream.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX)));
    if (result > 0) return {static_cast<std::size_t>(result), Wants::nothing};
    return {0, impl_->wants(result)};
}

bool TlsStream::pending() const { return SSL_pending(impl_->stream.get()) > 0; }

void TlsStream::finish() {
    ERR_clear_error();
    SSL_shutdown(impl_->stream.get());
    ERR_clear_error();
}

}  // namespace roost::net
