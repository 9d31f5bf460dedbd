// TLS on a socket, by OpenSSL, which no other part of the network code knows.
#pragma once

#include "base/result.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace roost::net {

// A certificate and its key, ready for use. Any thread.
class TlsContext {
public:
    // Reads both in PEM form; the certificate's file may hold the chain, and the key too (`key` empty). Errors
    // (misconfigured) name the file.
    static Result<std::shared_ptr<TlsContext>> load(const std::string& certificate, const std::string& key);
    ~TlsContext();

    struct Impl;
    Impl& impl() { return *impl_; }

private:
    explicit TlsContext(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// The server's side of one encrypted connection over a socket, which it does not own and never waits for, whether the
// socket blocks or not. The first reads and writes shake hands. One thread at a time.
class TlsStream {
public:
    enum class Wants { nothing, read, write };  // what to wait for before trying again
    struct Step {
        std::size_t size = 0;          // bytes moved
        Wants wants = Wants::nothing;  // if none were: `nothing` is the end of the connection
    };

    static Result<std::unique_ptr<TlsStream>> make(TlsContext& context, int fd);
    ~TlsStream();

    Step read(std::span<char> buffer);
    Step write(std::string_view bytes);
    // Not yet, or it failed.
    bool is_shaking_hands() const;
    // Why the connection ended while it was.
    const std::string& failure() const;
    // How many bytes wait to be read that are no longer in the descriptor.
    std::size_t pending() const;
    // Tells the peer that no more will come.
    void finish();

private:
    struct Impl;
    explicit TlsStream(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace roost::net
