// Suggestions for what was mistyped.
#pragma once

#include <span>
#include <string_view>

namespace roost {

// The candidate that needs the fewest single-letter changes (insert, remove, replace, swap neighbours) to become
// `word`, or an empty view where none is near enough to be a slip of the finger: at most one change in three letters.
// Of equals the first. Letters count as equal in either case.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace roost
