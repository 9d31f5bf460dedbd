// Usage, limits, and whether a message is admitted.
#pragma once

#include "base/outcome.h"
#include "config/config.h"

#include <cstdint>
#include <optional>

namespace roost {

struct Usage {
    std::uint64_t storage = 0;   // bytes as stored
    std::uint64_t messages = 0;  // how many
    bool operator==(const Usage&) const = default;
};

struct Limits {
    std::optional<std::uint64_t> storage;   // bytes; absent: unlimited
    std::optional<std::uint64_t> messages;  // absent: unlimited
    std::optional<std::uint64_t> message;   // bytes of one message; absent: unlimited
    Allowance grace;                        // how far the last message may exceed `storage`
    bool defer_when_full = false;           // over quota is temporary instead of permanent
};

// The quota.* settings of a user.
Limits limits_of(const Cascade& settings);

// True if `limits` could refuse anything on account of usage, so that usage must be known.
bool needs_usage(const Limits& limits);

// True if `coming` on top of `used` stays within the limits on usage, without grace.
bool fits(const Usage& used, const Limits& limits, const Usage& coming);

// May a message that takes `stored` bytes in the store, `size` bytes as it came, be added to `used`? Pure.
// Storage: used + stored <= limit, or used < limit and used + stored <= limit + grace. Messages: used + 1 <= limit.
// Answers delivered, message_too_large, over_quota or over_quota_deferred. Sums that overflow count as over.
Outcome admit(const Usage& used, const Limits& limits, std::uint64_t stored, std::uint64_t size);

}  // namespace roost
