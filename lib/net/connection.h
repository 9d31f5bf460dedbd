// One connection: bytes in both directions, with time limits, in the clear or encrypted.
#pragma once

#include "base/deadline.h"
#include "base/fd.h"
#include "base/peer.h"
#include "base/result.h"
#include "net/tls.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace roost::net {

// One thread at a time, gone() excepted.
class Connection {
public:
    // A socket that does not block.
    Connection(Fd socket, Peer peer);
    // A pair of descriptors that were given to us, as standard input and output: nothing about them is changed, and
    // they may be one and the same socket.
    Connection(Fd in, Fd out, Peer peer);

    struct Read {
        enum class State { data, later, end } state = State::end;  // `end`: closed, or broken
        std::size_t size = 0;
    };
    // What is there now; never waits.
    Read read(std::span<char> buffer);
    // Waits until there is something to read, or the end. False: the deadline passed.
    bool wait(Deadline deadline);
    // Writes all. False: the peer is gone, or took nothing until the deadline.
    bool write(std::string_view bytes, Deadline deadline);

    // Whether both directions are one socket, without which there is no TLS.
    bool can_start_tls() const;
    // From here on both sides speak TLS; the handshake goes on in read() and write(), like all that comes after it.
    Result<void> start_tls(TlsContext& context);
    bool is_shaking_hands() const { return tls_ && tls_->is_shaking_hands(); }
    // Why the connection ended during the handshake; empty if it did not.
    std::string handshake_failure() const { return tls_ ? tls_->failure() : std::string(); }

    // How many bytes have come that were not read yet; encrypted, if they are. 0: all that has come was read.
    std::size_t waiting() const;
    // Whether the peer has closed its side, or the connection is broken. Reads nothing. Any thread, while the object
    // lives.
    bool gone() const;
    // Ends our side, so that the peer gets what was written even where we have not read all that it sent.
    void finish();
    // Wakes whoever waits in read, wait or write: from now on they fail. Any thread, while the object lives.
    void abort();

    int fd() const { return in_.get(); }
    const Peer& peer() const { return peer_; }

private:
    int out_fd() const { return out_ ? out_.get() : in_.get(); }
    bool ready(int fd, short events, Deadline deadline) const;

    Fd in_;
    Fd out_;  // none: in_ is both
    bool blocking_;
    Peer peer_;
    std::unique_ptr<TlsStream> tls_;
};

}  // namespace roost::net
