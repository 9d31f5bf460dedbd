// The client's half of the protocol of Dovecot's dict server, as bytes: no descriptor, no clock. Facts from Dovecot's
// design/dict_protocol document, dict-client.h and dict-commands.c of 2.2 to 2.4.
//
// One line a command, fields between TABs. Three major versions are about, which differ in where the user stands: in
// the first line of the connection (2: Dovecot 2.2 to 2.3.16), or in each command (3: 2.3.17 to 2.3.21; 4: 2.4). A
// server closes the connection upon a version that is not its own.
#pragma once

#include "base/result.h"
#include "dict/dict.h"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// The newest first.
inline constexpr std::array<unsigned, 3> kProxyMajors{4, 3, 2};

// The longest line that a server takes, its LF included.
inline constexpr std::size_t kProxyLongestLine = std::size_t(64) * 1024;
// A server reads no further while this many commands wait for their replies.
inline constexpr std::size_t kProxyMostPending = 1000;

// The first line of a connection to the dict `name`. With major 2 the connection is for `user` alone.
std::string proxy_hello(unsigned major, std::string_view name, std::string_view user);
std::string proxy_lookup(unsigned major, std::string_view user, std::string_view key);
// All lines of a transaction, to its commit; `id` is one that no other transaction under way has.
std::string proxy_transaction(unsigned major, unsigned id, const DictTransaction& transaction);
// False: a line of `lines` is longer than a server takes.
bool proxy_fits(std::string_view lines);

struct ProxyReply {
    enum class Kind {
        ok,         // of a lookup: `text` is the value; of a commit: done
        not_found,  // of a commit: done, but for an addition to a key that is not there
        failed,     // `text` is the server's reason
        uncertain,  // of a commit: it may be applied or not; `text` is the server's reason
    };
    Kind kind = Kind::failed;
    std::string text;
};

// Reads what a server writes and brings the replies into the order of the commands: servers number commands, and
// answer them as they are done.
class ProxyReader {
public:
    enum class Command { lookup, commit };
    // A command was sent.
    void expect(Command command) { waiting_.push_back({command, 0, std::nullopt}); }

    // Bytes as they come. False: no server speaks like that, and nothing more can be made of the connection.
    [[nodiscard]] bool feed(std::string_view bytes);

    // Whether every command has its reply.
    bool complete() const { return answered_ == waiting_.size(); }
    // The replies, once complete, in the order of the commands, which are forgotten.
    std::vector<ProxyReply> take();

private:
    struct Waiting {
        Command command;
        unsigned number;  // the server's for this command; 0: none yet
        std::optional<ProxyReply> reply;
    };
    bool line(std::string_view text);
    bool number_next(unsigned number);
    bool answer(Waiting& command, std::span<const std::string> fields);

    std::string buffer_;  // a line that has not ended
    std::vector<Waiting> waiting_;
    std::size_t answered_ = 0;
};

}  // namespace roost
