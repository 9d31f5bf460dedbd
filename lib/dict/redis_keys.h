// The names under which the Redis driver keeps keys: as Dovecot's does, so that either reads what the other wrote.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace roost {

// "priv/KEY" of `user` is PREFIX USER "/" KEY; "shared/KEY" is PREFIX KEY. In a user's name that contains "/", that is
// written "\-" and "\" is written "\\"; other names stand as they are, a backslash too. Any other key is an Error
// (misconfigured).
Result<std::string> redis_key(std::string_view prefix, std::string_view user, std::string_view key);

// A pattern for SCAN that all names of the "priv/..." key match, and maybe others.
std::string redis_pattern(std::string_view prefix, std::string_view key);

// Whose "priv/..." key `name` is; nullopt: it is another key.
std::optional<std::string> redis_user(std::string_view prefix, std::string_view key, std::string_view name);

// The slot of a name in a cluster: CRC16 of it, or of what stands in its first braces, modulo 16384.
std::uint16_t redis_slot(std::string_view name);

}  // namespace roost
