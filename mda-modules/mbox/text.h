// The text of an mbox file in the mboxrd form: a "From SENDER DATE" line, the message with one more ">" before each
// line that matches ^>*From_, and an empty line.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace roost::mbox {

// The line that begins a message: sender, then the date in the form of asctime(3), in UTC, whatever the locale. An
// empty sender, the null reverse-path, is written as MAILER-DAEMON; blanks and control characters become "_".
std::string from_line(std::string_view sender, std::time_t when);

// The address in the Return-Path field of the header that begins `head`, if one of its first fields is that.
std::optional<std::string> return_path(std::string_view head);

// True if `text` begins with a From_ line as mail programs write them: "From ", a sender, a weekday, month, day, time
// and year. Text that happens to begin with "From " does not count, since other programs store it unquoted.
bool begins_with_from_line(std::string_view text);

// A From_ line is never longer than this, its line end included.
inline constexpr std::size_t kLongestFromLine = 1024;

// Quotes the bytes of one message as they come. Each object serves one message.
class Quoter {
public:
    // Appends the quoted `bytes` to `out`.
    void add(std::string_view bytes, std::string& out);
    // Appends what ends a message: a newline if the last line has none, and an empty line.
    void finish(std::string& out);

private:
    enum class At { line_start, quotes, line };  // quotes: in the ">" that begin a line
    void end_match(std::string& out);
    At at_ = At::line_start;
    std::size_t matched_ = 0;  // how many bytes of "From " came after line_start or quotes; they are held back
};

// Calls `visit` with the offset of each From_ line that begins in [begin, end) of a file, until it returns false.
// Where::line_starts: at the start of the file or of a line. Where::anywhere: also within a line, as happens when a
// program appends to a line that was never ended, except behind ">".
enum class Where { line_starts, anywhere };
Result<void> find_from_lines(int fd, const std::string& path, std::uint64_t begin, std::uint64_t end, Where where,
                             const std::function<bool(std::uint64_t)>& visit);

// Reads up to `size` bytes at `offset`; fewer only at the end of the file.
Result<std::string> read_at(int fd, const std::string& path, std::uint64_t offset, std::size_t size);

}  // namespace roost::mbox
