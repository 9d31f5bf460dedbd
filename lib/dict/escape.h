// How Dovecot's dicts escape a key or a value in a line, in the proxy's protocol as in dict files.
#pragma once

#include <string>
#include <string_view>

namespace roost {

// NUL, 0x01, TAB, CR and LF as 0x01 and a character, and back. A 0x01 that ends `text` is passed over.
std::string dict_escaped(std::string_view text);
std::string dict_unescaped(std::string_view text);

}  // namespace roost
