// The text of maildirsize, the file in which Maildir++ keeps usage: first a line with the limits, such as
// "1000000S,500C", then lines of signed bytes, blanks and a signed count, whose sum is the usage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quota/limits.h"

namespace roost::maildir {

inline constexpr const char* kSizeFileName = "maildirsize";
// A file of this many bytes or more is to be counted anew, by the specification.
inline constexpr std::size_t kSizeFileLimit = 5120;

// What a trustworthy file says.
struct SizeFile {
    Usage used;
    std::size_t lines = 0;  // of data
};

// The first line for these limits, with its newline: only the limits that there are, as Courier and Dovecot write it,
// and "0S" for none at all, as Dovecot does (an empty line would read as a damaged file). A limit of 0 is written as 1,
// since 0 means unlimited to the others.
std::string size_header(const Limits& limits);

// True if the text's first line says these limits, in whatever order and with zeroes for unlimited or without.
bool has_limits(std::string_view text, const Limits& limits);

// One line of data, with its newline.
std::string size_line(std::int64_t bytes, std::int64_t messages);

// Reads a whole file. Nothing if it must not be trusted: other limits, a malformed or unterminated line, no line of
// data, a negative sum or one that overflows.
std::optional<SizeFile> parse_size_file(std::string_view text, const Limits& limits);

}  // namespace roost::maildir
