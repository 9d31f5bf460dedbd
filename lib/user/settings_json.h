// Settings as the JSON objects that the user database holds.
#pragma once

#include "base/result.h"
#include "config/setting.h"

#include <string>
#include <string_view>

namespace roost {

// Reads a flat object whose values are strings, whole numbers or booleans (true is "yes", false "no"). Anything else,
// a key that stands twice included, is an Error (misconfigured). `where` begins its message.
Result<Settings> parse_settings(std::string_view where, std::string_view json);

// All values as strings, in the order of keys. An Error (misconfigured) if a text is not UTF-8, as JSON must be.
Result<std::string> render_settings(std::string_view where, const Settings& settings);
// One of those values, in its quotes. `text` is UTF-8.
std::string render_value(const std::string& text);

}  // namespace roost
