// Folder names as people and MTAs write them.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace roost {

// A folder as its components from the top, UTF-8; no components: INBOX.
using Folder = std::vector<std::string>;

// Reads "Lists/roost" or "Lists.roost", with or without a leading "INBOX/" or "INBOX."; "INBOX" in any case, and the
// empty text, are INBOX. Errors (malformed): control characters, invalid UTF-8, an empty component (so "..", "a//b"
// and a leading "/" too), a component that begins with "~", more than 200 octets in all, more than 10 components.
Result<Folder> parse_folder(std::string_view text);

// "INBOX" or the components joined by "/".
std::string folder_name(const Folder& folder);

}  // namespace roost
