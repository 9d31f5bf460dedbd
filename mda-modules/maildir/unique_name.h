// Names that no other delivery gives its file.
#pragma once

#include <cstdint>
#include <string>

namespace roost::maildir {

// "TIME.MmicrosecondsPpidQcounter.HOST", as the Maildir specification asks for: different for each call on this
// machine, and from other machines by the host's name, whose "/" and ":" become \057 and \072. Any thread.
std::string unique_name();

// ",S=bytes,W=bytes": a message's size in the store, and with CRLF line ends. Readers take sizes from the name.
std::string size_tags(std::uint64_t stored, std::uint64_t with_crlf);

}  // namespace roost::maildir
