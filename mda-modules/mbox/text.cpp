#include "text.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/text.h"

namespace roost::mbox {
namespace {

constexpr std::string_view kFrom = "From ";
constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "0" stands for a digit, everything else for itself.
bool looks_like(std::string_view text, std::string_view shape) {
    return std::equal(text.begin(), text.end(), shape.begin(), shape.end(),
                      [](char c, char wanted) { return wanted == '0' ? is_digit(c) : c == wanted; });
}

bool is_time(std::string_view word) {
    for (const std::string_view shape : {"00:00:00", "0:00:00", "00:00", "0:00"})
        if (looks_like(word, shape)) return true;
    return false;
}

template <std::size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// True if the words end in a date of asctime(3); a time zone may stand before or behind the year.
bool ends_in_date(const std::array<std::string_view, 6>& w) {
    const bool day = one_of(w[0], kDays) && one_of(w[1], kMonths) && (looks_like(w[2], "0") || looks_like(w[2], "00"));
    return day && is_time(w[3]) && (looks_like(w[4], "0000") || looks_like(w[5], "0000"));
}

}  // namespace

std::string from_line(std::string_view sender, std::time_t when) {
    std::string line(kFrom);
    for (const char c : sender.empty() ? std::string_view("MAILER-DAEMON") : sender)
        line += is_control(c) || c == ' ' ? '_' : c;
    std::tm tm{};
    ::gmtime_r(&when, &tm);
    std::array<char, 32> rest{};
    const std::size_t length = std::strftime(rest.data(), rest.size(), " %e %H:%M:%S %Y\n", &tm);
    line += ' ';
    line += kDays[static_cast<std::size_t>(tm.tm_wday)];
    line += ' ';
    line += kMonths[static_cast<std::size_t>(tm.tm_mon)];
    return line.append(rest.data(), length);
}

std::optional<std::string> return_path(std::string_view head) {
    constexpr std::string_view kName = "return-path:";
    constexpr int kFields = 8;  // the MTA that delivers writes its fields on top
    for (int i = 0; i < kFields && !head.empty(); ++i) {
        const std::size_t end = std::min(head.find('\n'), head.size());
        std::string_view line = head.substr(0, end);
        head.remove_prefix(std::min(end + 1, head.size()));
        if (lower(line.substr(0, kName.size())) != kName) continue;
        line.remove_prefix(kName.size());
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
        line = trim(line);
        if (line.starts_with('<') && line.ends_with('>')) line = line.substr(1, line.size() - 2);
        return std::string(line.substr(0, kLongestFromLine / 2));
    }
    return std::nullopt;
}

bool begins_with_from_line(std::string_view text) {
    if (!text.starts_with(kFrom)) return false;
    std::string_view line = text.substr(0, std::min({text.find('\n'), text.size(), kLongestFromLine}));
    line.remove_prefix(kFrom.size());
    std::array<std::string_view, 6> last{};  // the last words read so far
    while (!line.empty()) {
        const std::size_t begin = std::min(line.find_first_not_of(" \t\r"), line.size());
        line.remove_prefix(begin);
        const std::size_t length = std::min(line.find_first_of(" \t\r"), line.size());
        if (length == 0) break;
        std::rotate(last.begin(), last.begin() + 1, last.end());
        last.back() = line.substr(0, length);
        line.remove_prefix(length);
        // The date may be followed by "remote from HOST".
        if (ends_in_date(last)) return true;
    }
    // Without a time zone the year is the last word but the window has room for one more.
    std::rotate(last.begin(), last.begin() + 1, last.end());
    last.back() = {};
    return ends_in_date(last);
}

void Quoter::end_match(std::string& out) {
    out += kFrom.substr(0, matched_);
    matched_ = 0;
    at_ = At::line;
}

void Quoter::add(std::string_view bytes, std::string& out) {
    while (!bytes.empty()) {
        if (at_ == At::line) {
            const std::size_t newline = bytes.find('\n');
            if (newline != std::string_view::npos) at_ = At::line_start;
            const std::string_view line = bytes.substr(0, std::min(newline, bytes.size() - 1) + 1);
            out += line;
            bytes.remove_prefix(line.size());
        } else if (bytes.front() == kFrom[matched_]) {
            bytes.remove_prefix(1);
            if (++matched_ < kFrom.size()) continue;
            out += '>';  // where in the run of ">" it goes makes no difference
            end_match(out);
        } else if (matched_ == 0 && bytes.front() == '>') {
            at_ = At::quotes;
            out += '>';
            bytes.remove_prefix(1);
        } else {
            end_match(out);
        }
    }
}

void Quoter::finish(std::string& out) {
    if (matched_ > 0) end_match(out);
    out += at_ == At::line_start ? "\n" : "\n\n";
}

Result<std::string> read_at(int fd, const std::string& path, std::uint64_t offset, std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t done = 0;
    while (done < size) {
        const ssize_t got = ::pread(fd, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno, "cannot read " + path);
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    bytes.resize(done);
    return bytes;
}

Result<void> find_from_lines(int fd, const std::string& path, std::uint64_t begin, std::uint64_t end, Where where,
                             const std::function<bool(std::uint64_t)>& visit) {
    constexpr std::size_t kChunk = 256UL * 1024;
    // One byte before each candidate tells whether it counts; before the file's first byte stands a line end.
    std::string buffer = "\n";
    std::uint64_t next = begin;  // the offset of what follows the buffer
    if (begin > 0) {
        auto before = read_at(fd, path, begin - 1, 1);
        if (!before) return std::move(before).error();
        buffer = *std::move(before);
    }
    while (true) {
        // A candidate near the end needs the rest of its line.
        auto more = read_at(fd, path, next, kChunk + kLongestFromLine);
        if (!more) return std::move(more).error();
        const bool last = more->size() < kChunk + kLongestFromLine;
        buffer += *more;
        next += more->size();
        const std::uint64_t start = next - buffer.size();  // the offset of buffer[0], one less than nothing at 0
        const std::size_t stop = last ? buffer.size() : buffer.size() - kLongestFromLine;
        for (std::size_t at = buffer.find(kFrom, 1); at < stop; at = buffer.find(kFrom, at + 1)) {
            if (start + at >= end) return {};
            const char before = buffer[at - 1];
            const bool counts = where == Where::line_starts ? before == '\n' : before != '>';
            if (counts && begins_with_from_line(std::string_view(buffer).substr(at)) && !visit(start + at)) return {};
        }
        if (last || start + stop >= end) return {};
        buffer.erase(0, stop - 1);
    }
}

}  // namespace roost::mbox
