// A socket that connections come in by.
#pragma once

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/peer.h"
#include "base/result.h"

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace roost::net {

// One listening socket, not blocking, close-on-exec. A Unix socket that it made vanishes from the file system with it.
class Listener {
public:
    struct Accepted {
        Fd fd;  // not blocking, close-on-exec
        Peer peer;
    };

    // Listens on all the addresses that the endpoint stands for. A Unix socket gets `mode`; a socket file there that
    // nobody listens on any more is replaced, anything else is not touched. Errors name the endpoint.
    static Result<std::vector<Listener>> open(const Endpoint& endpoint, mode_t mode);

    // What would keep open() from listening there, as far as it can be told without doing it.
    static Result<void> check(const Endpoint& endpoint);

    // The sockets that the service manager opened for us (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES: sd_listen_fds(3));
    // empty if none. Removes the variables. Call it before any thread starts.
    static Result<std::vector<Listener>> take_inherited();

    Listener(Listener&& other) noexcept = default;
    Listener& operator=(Listener&& other) noexcept;
    ~Listener();

    int fd() const { return fd_.get(); }
    // Its address, as an Endpoint has it.
    const std::string& name() const { return name_; }
    // Whether the service manager opened it, and the name that it gave it (FileDescriptorName=), if any.
    bool inherited() const { return inherited_; }
    const std::string& label() const { return label_; }

    // Whether the Unix socket that it made is no longer what clients find at its path.
    bool lost() const;
    // Gives the Unix socket that it made another mode; of no effect on others.
    Result<void> set_mode(mode_t mode) const;

    // The next connection; nothing if there is none at the moment or it went away again. An Error (EMFILE and the
    // like) means that it is still waiting.
    Result<std::optional<Accepted>> accept();

private:
    Listener(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
    void remove_file() noexcept;

    Fd fd_;
    std::string name_;
    bool inherited_ = false;
    std::string label_;
    std::string path_;  // of the socket file to remove; empty: none
    dev_t device_ = 0;  // of that file, for it may have been replaced by another process
    ino_t inode_ = 0;
};

}  // namespace roost::net
