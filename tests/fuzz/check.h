// What the harnesses share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace roost {

// A promise that does not hold is a finding.
inline void check(bool holds, const char* promise) {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

// Takes off what stands before the first `end`, which goes as well.
inline std::string_view take_until(std::string_view& text, char end) {
    const std::string_view out = text.substr(0, text.find(end));
    text.remove_prefix(out.size() == text.size() ? out.size() : out.size() + 1);
    return out;
}

}  // namespace roost
