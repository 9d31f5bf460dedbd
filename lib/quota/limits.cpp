#include "quota/limits.h"

#include <limits>

namespace roost {
namespace {

// a + b, or the largest number if that overflows.
std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    return a > kMost - b ? kMost : a + b;
}

bool fits_storage(const Usage& used, const Limits& limits, std::uint64_t stored) {
    if (!limits.storage) return true;
    const std::uint64_t after = sum(used.storage, stored);
    if (after == std::numeric_limits<std::uint64_t>::max()) return false;  // overflowed, or might as well have
    if (after <= *limits.storage) return true;
    return used.storage < *limits.storage && after <= sum(*limits.storage, limits.grace.of(*limits.storage));
}

}  // namespace

Limits limits_of(const Cascade& settings) {
    return {settings.size("quota.storage"), settings.count("quota.messages"), settings.size("quota.message"),
            settings.allowance("quota.grace"), settings.text("quota.when-full") == "defer"};
}

bool needs_usage(const Limits& limits) { return limits.storage || limits.messages; }

bool fits(const Usage& used, const Limits& limits, const Usage& coming) {
    const auto within = [](std::uint64_t have, std::uint64_t more, const std::optional<std::uint64_t>& limit) {
        return !limit || (have <= *limit && more <= *limit - have);
    };
    return within(used.storage, coming.storage, limits.storage) &&
           within(used.messages, coming.messages, limits.messages);
}

Outcome admit(const Usage& used, const Limits& limits, std::uint64_t stored, std::uint64_t size) {
    if (limits.message && size > *limits.message) return Outcome::message_too_large;
    const bool fits = fits_storage(used, limits, stored) && (!limits.messages || used.messages < *limits.messages);
    if (fits) return Outcome::delivered;
    return limits.defer_when_full ? Outcome::over_quota_deferred : Outcome::over_quota;
}

}  // namespace roost
