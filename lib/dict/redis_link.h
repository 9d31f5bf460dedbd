// One connection to one Redis server.
#pragma once

#include "base/deadline.h"
#include "base/fd.h"
#include "dict/redis_reply.h"
#include "dict/redis_settings.h"

#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// TLS from bytes to bytes; it knows no socket. One thread at a time.
class TlsFilter {
public:
    virtual ~TlsFilter() = default;

    // Appends to `wire` what must be sent to the peer for it to get `plain`, now or after the handshake.
    virtual Result<void> put(std::string_view plain, std::string& wire) = 0;
    // Takes what the peer sent: appends what it says to `plain`, and what must be sent in turn to `wire`.
    virtual Result<void> take(std::string_view received, std::string& plain, std::string& wire) = 0;
};

// Where a socket connects to.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

// What only large libraries can do. Functions that are null are not linked into this program: it then makes no dict
// whose URI asks for them.
struct RedisLibraries {
    // The addresses of a name, at least one.
    Result<std::vector<SocketAddress>> (*resolve)(const std::string& host, const std::string& port, Deadline) = nullptr;
    // The client's side of a connection to the server of that name or address. Errors (misconfigured) name the file.
    Result<std::unique_ptr<TlsFilter>> (*tls)(const RedisTlsSettings&, const std::string& host) = nullptr;
};

// A socket, TLS on it if that is wanted, and the replies that come. One thread at a time. After an Error it is useless.
class RedisLink {
public:
    // Who it speaks as.
    struct Login {
        std::string user, password;
        std::uint64_t db = 0;
    };

    // Connects and logs in. `settings` outlives the link; it gives the name, TLS and the time that a reply may take.
    static Result<std::unique_ptr<RedisLink>> connect(const RedisSettings& settings, const RedisLibraries& libraries,
                                                      const RedisAddress& address, const Login& login,
                                                      Deadline deadline);

    // Takes commands that flush() and reply() send.
    Result<void> send(std::string_view commands);
    // Sends what can be sent without waiting.
    Result<void> flush();
    // The next reply. An Error after the deadline, and after a silence of the settings' timeout.
    Result<RedisReply> reply(Deadline deadline);
    // False if the peer has closed it, or said something unasked, since the last reply.
    bool alive();

    const RedisAddress& address() const { return address_; }
    // An Error (trouble) about this connection.
    Error trouble(const std::string& why, std::string hint = {}) const;

private:
    RedisLink(const RedisSettings& settings, RedisAddress address);
    Result<void> open(const RedisLibraries& libraries, Deadline deadline);
    Result<void> open_one(const SocketAddress& to, Deadline deadline);
    Result<void> log_in(const Login& login, Deadline deadline);
    Result<void> wait(short events, Deadline deadline);
    Result<bool> read_some();  // false: nothing there now

    const RedisSettings* settings_;
    RedisAddress address_;
    Fd socket_;
    std::unique_ptr<TlsFilter> tls_;
    std::string out_;  // what is to be sent
    RedisReader reader_;
};

// The address that `host` is the text of; nullopt: it is a name.
std::optional<SocketAddress> numeric_address(const std::string& host, const std::string& port);

}  // namespace roost
