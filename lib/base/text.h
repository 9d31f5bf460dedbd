// Small text helpers that the standard library lacks.
#pragma once

#include <string>
#include <string_view>

namespace roost {

// ASCII letters in lower case; all other bytes as they are. User, domain and plan names are compared in this form.
std::string lower(std::string_view text);

// Without spaces and tabs at either end.
std::string_view trim(std::string_view text);

// True for bytes that never belong into a name, an address or a log line: 0x00-0x1f and 0x7f.
inline bool is_control(char c) {
    const auto u = static_cast<unsigned char>(c);
    return u < 0x20 || u == 0x7f;
}

// True if `text` is well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates.
bool is_utf8(std::string_view text);

// `text` with control characters, those that change the direction of writing, and invalid UTF-8 bytes as \xHH, for
// messages and logs that quote what came from the network.
std::string printable(std::string_view text);

// The beginning of `text`, printable and in quotes, for messages about what is wrong with it.
std::string excerpt(std::string_view text);

// One path component that no other value has: "/", "%", control characters and a leading "." become %HH, the empty
// value becomes "@".
std::string path_component(std::string_view value);
// What path_component() made `component` of.
std::string path_component_value(std::string_view component);

}  // namespace roost
