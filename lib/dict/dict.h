// A dict: a key-value store reached by a URI. Keys and values as Dovecot's dict has them, so that either can read what
// the other wrote (its design/dict_protocol document, and what its drivers do).
#pragma once

#include "base/deadline.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// One change to one key. "priv/..." keys belong to the transaction's user.
struct DictChange {
    enum class Kind { set, unset, add };
    Kind kind = Kind::set;
    std::string key;
    std::string value;      // for set
    std::int64_t diff = 0;  // for add; a key that is not there stays absent
};

// Changes of one user that become visible together.
struct DictTransaction {
    std::string user;
    std::vector<DictChange> changes;
};

// "No such key" is an answer (nullopt); "could not ask" is an Error (trouble, so temporary). Any thread; calls on one
// object may wait for each other. Every call ends by its deadline, with an Error then; the connection is made at the
// first call, and again after one that broke, so an object outlives its server's restarts.
class Dict {
public:
    virtual ~Dict() = default;

    // The values of `keys` of `user`, in their order.
    virtual Result<std::vector<std::optional<std::string>>> get(std::string_view user,
                                                                std::span<const std::string> keys,
                                                                Deadline deadline) = 0;

    // Applies transactions in order, each as a whole or not at all, pipelined where the driver can. An Error may leave
    // any number of them applied, and the last of those uncertain: absolute sets may be repeated, adds must not.
    virtual Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) = 0;

    // Every user that has `key` and its value there, in any order, while others write; memory stays constant. The
    // callback returns false to stop. An Error (misconfigured) where the driver's server cannot be asked for it.
    virtual Result<void> each(std::string_view key,
                              const std::function<bool(std::string_view user, std::string_view value)>& visit,
                              Deadline deadline) = 0;

    // What to call it in messages: the URI without passwords.
    virtual const std::string& name() const = 0;

    // Whether keys go by themselves some time after they were set.
    virtual bool expires() const { return false; }
};

// Makes the dict of a URI without connecting to anything: "redis:", "sqlite:", "pgsql:", "mysql:", "file:" and "proxy:"
// as roost-quota(7) describes them. Errors (misconfigured) name what is wrong with the URI, without its passwords.
Result<std::unique_ptr<Dict>> make_dict(std::string_view uri);

// The keys of a user's usage, in Dovecot's quota plugin and quota_clone alike.
inline constexpr const char* kDictStorage = "priv/quota/storage";    // bytes
inline constexpr const char* kDictMessages = "priv/quota/messages";  // count

}  // namespace roost
