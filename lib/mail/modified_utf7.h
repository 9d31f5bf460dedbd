// How folders have their names on disk.
#pragma once

#include <string>
#include <string_view>

namespace roost {

// UTF-8 in IMAP's modified UTF-7 (RFC 3501 section 5.1.3), as the IMAP servers that read the same store write names.
std::string to_modified_utf7(std::string_view utf8);

}  // namespace roost
