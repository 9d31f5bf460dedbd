// The hash of user names that paths and locks are derived from.
#pragma once

#include <cstdint>
#include <string_view>

namespace roost {

// 64-bit FNV-1a. Never changes: mailboxes stand below directories that are named after it.
constexpr std::uint64_t fnv1a64(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3U;
    }
    return hash;
}
static_assert(fnv1a64("foobar") == 0x85944171f73967e8U);

}  // namespace roost
