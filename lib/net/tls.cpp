#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <new>

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

// OpenSSL's way to a socket that never waits, also where the descriptor is one that blocks.
ssize_t again(BIO* bio, ssize_t moved, int flag) {
    BIO_clear_retry_flags(bio);
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_flags(bio, flag | BIO_FLAGS_SHOULD_RETRY);
    return moved;
}
int socket_of(BIO* bio) { return *static_cast<const int*>(BIO_get_data(bio)); }
int put(BIO* bio, const char* data, int size) {
    const auto moved = ::send(socket_of(bio), data, static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    return static_cast<int>(again(bio, moved, BIO_FLAGS_WRITE));
}
int get(BIO* bio, char* data, int size) {
    const auto moved = ::recv(socket_of(bio), data, static_cast<std::size_t>(size), MSG_DONTWAIT);
    return static_cast<int>(again(bio, moved, BIO_FLAGS_READ));
}
long control(BIO* /*bio*/, int what, long /*number*/, void* /*pointer*/) { return what == BIO_CTRL_FLUSH ? 1 : 0; }

// `fd` must outlive it.
BIO* socket_bio(int& fd) {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* const out = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket that never waits");
        if (out == nullptr || BIO_meth_set_write(out, put) != 1 || BIO_meth_set_read(out, get) != 1 ||
            BIO_meth_set_ctrl(out, control) != 1)
            throw std::bad_alloc();
        return out;
    }();
    BIO* const out = BIO_new(method);
    if (out == nullptr) return nullptr;
    BIO_set_data(out, &fd);
    BIO_set_init(out, 1);
    return out;
}

}  // namespace

struct TlsContext::Impl {
    std::unique_ptr<SSL_CTX, FreeContext> context;
};

struct TlsStream::Impl {
    int fd = -1;  // before the stream, which uses it
    std::unique_ptr<SSL, FreeStream> stream;
    std::string failure;

    // What a call that returned `result` asks for.
    Wants wants(int result) {
        switch (SSL_get_error(stream.get(), result)) {
            case SSL_ERROR_WANT_READ:
                return Wants::read;
            case SSL_ERROR_WANT_WRITE:
                return Wants::write;
            default:
                if (SSL_is_init_finished(stream.get()) == 0 && failure.empty()) failure = reason();
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
    impl->fd = fd;
    BIO* const bio = impl->stream ? socket_bio(impl->fd) : nullptr;
    if (bio == nullptr) return Error{Outcome::trouble, "cannot start TLS", reason(), {}, 0};
    SSL_set_bio(impl->stream.get(), bio, bio);
    SSL_set_accept_state(impl->stream.get());
    return std::unique_ptr<TlsStream>(new TlsStream(std::move(impl)));  // NOLINT: the constructor is private
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

bool TlsStream::is_shaking_hands() const { return SSL_is_init_finished(impl_->stream.get()) == 0; }

const std::string& TlsStream::failure() const { return impl_->failure; }

std::size_t TlsStream::pending() const { return static_cast<std::size_t>(SSL_pending(impl_->stream.get())); }

void TlsStream::finish() {
    ERR_clear_error();
    SSL_shutdown(impl_->stream.get());
    ERR_clear_error();
}

}  // namespace roost::net
