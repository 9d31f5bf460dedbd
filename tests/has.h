// Whether a text has a part.
#pragma once

#include <string>

namespace roost::test {

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace roost::test
