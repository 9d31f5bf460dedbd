// The clone: a copy of everybody's usage in a dict, under the keys of Dovecot's quota_clone. Never the authority.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "config/config.h"
#include "dict/dict.h"
#include "quota/limits.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace roost {

// What the clone is to hold of one user.
struct CloneEntry {
    std::string user;
    std::optional<Usage> usage;  // absent: there is no such user, so its keys go
};

// Any thread. Calls end by their deadlines.
class Clone {
public:
    // As quota-clone.* asks for; null: the clone is off. Connects to nothing. Errors (misconfigured) name the setting.
    static Result<std::unique_ptr<Clone>> make(const Config& config);
    // `unset`: whether keys are unset before they are set. `patience`: how long a process that has somebody waiting for
    // its end may spend on the clone.
    Clone(std::unique_ptr<Dict> dict, bool unset, std::chrono::milliseconds patience)
        : dict_(std::move(dict)), unset_(unset), patience_(patience) {}

    // Writes absolute values, each user's two keys in one transaction, pipelined. May be repeated after an Error, which
    // may leave some of the entries written.
    Result<void> publish(std::span<const CloneEntry> entries, Deadline deadline);
    // Absent: one of the keys is missing or no number.
    Result<std::optional<Usage>> read(std::string_view user, Deadline deadline);

    Dict& dict() { return *dict_; }
    std::chrono::milliseconds patience() const { return patience_; }

private:
    std::unique_ptr<Dict> dict_;
    bool unset_;
    std::chrono::milliseconds patience_;
};

// The number that a value of the dict is; nothing if it is none. Dovecot writes signed ones.
std::optional<std::uint64_t> clone_number(std::string_view value);

}  // namespace roost
