#include "quota/domain_books.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <limits>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

constexpr std::string_view kFirstLine = "roost-domain-quota 1 ";

// How long a sum that says "full" is believed without looking again.
constexpr std::int64_t kStaleSeconds = std::int64_t{15} * 60;

// A file of this many bytes is replaced by a short one.
constexpr std::size_t kLong = 8192;
// What nobody has written in earnest.
constexpr std::size_t kTooLong = std::size_t{1024} * 1024;

// Takes a number from the front of `text`, and the one character behind it, which must be `end`.
std::optional<std::int64_t> take_number(std::string_view& text, char end) {
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || stop == text.data() + text.size() || *stop != end) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
    return number;
}

std::int64_t as_signed(std::uint64_t number) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::min(number, kMost));
}

std::string line_of(const Usage& usage) {
    return std::to_string(as_signed(usage.storage)) + " " + std::to_string(as_signed(usage.messages)) + "\n";
}

}  // namespace

std::optional<DomainBooks::Read> DomainBooks::parse(std::string_view text) {
    if (!text.starts_with(kFirstLine)) return std::nullopt;
    Read out;
    out.size = text.size();
    text.remove_prefix(kFirstLine.size());
    const auto summed = take_number(text, '\n');
    if (!summed || text.empty()) return std::nullopt;
    out.summed = *summed;
    std::int64_t bytes = 0;
    std::int64_t messages = 0;
    while (!text.empty()) {
        const auto more_bytes = take_number(text, ' ');
        const auto more_messages = more_bytes ? take_number(text, '\n') : std::nullopt;
        if (!more_messages || __builtin_add_overflow(bytes, *more_bytes, &bytes) ||
            __builtin_add_overflow(messages, *more_messages, &messages))
            return std::nullopt;
    }
    if (bytes < 0 || messages < 0) return std::nullopt;
    out.used = {static_cast<std::uint64_t>(bytes), static_cast<std::uint64_t>(messages)};
    return out;
}

// Nothing if the file is missing or damaged.
Result<std::optional<DomainBooks::Read>> DomainBooks::read(std::string_view domain) {
    auto text = books_.get(domain, kTooLong);
    if (!text) return std::move(text).error();
    return *text ? parse(**text) : std::nullopt;
}

Result<void> DomainBooks::write(std::string_view domain, const Read& books) {
    return books_.put(domain, std::string(kFirstLine) + std::to_string(books.summed) + "\n" + line_of(books.used));
}

// The lock, held, on a descriptor whose closing frees it.
Result<Fd> DomainBooks::lock(std::string_view domain, int how) {
    const std::string name = books_.path(domain, ".");
    auto fd = books_.open(name, O_RDWR);
    if (!fd) return std::move(fd).error();
    while (::flock(fd->get(), how) != 0)
        if (errno != EINTR) return system_error(errno, "cannot lock " + name, "its file system must support locks");
    return fd;
}

// With the exclusive lock held.
Result<Usage> DomainBooks::sum_anew(std::string_view domain, const Summing& sum) {
    const std::int64_t now = std::time(nullptr);
    auto used = sum();
    if (!used) return std::move(used).error();
    // What was summed is true even if it could not be written down, as on a full disk; older books must go then.
    if (auto written = write(domain, {*used, now, 0}); !written) {
        log(LogLevel::warning, written.error().text());
        if (auto gone = forget(domain); !gone) return std::move(gone).error();
    }
    return *used;
}

Result<Usage> DomainBooks::usage(std::string_view domain, const Limits& limits, const Usage& coming,
                                 const Summing& sum) {
    const auto believed = [&](const std::optional<Read>& books) {
        if (!books) return false;
        const std::int64_t age = std::time(nullptr) - books->summed;
        return fits(books->used, limits, coming) || (age >= 0 && age < kStaleSeconds);
    };
    auto books = read(domain);
    if (!books) return std::move(books).error();
    if (believed(*books)) {
        if ((*books)->size < kLong) return (*books)->used;
        // Whoever holds the lock now has the shortening to do next time.
        auto held = lock(domain, LOCK_EX | LOCK_NB);
        if (!held) return (*books)->used;
        books = read(domain);
        if (!books) return std::move(books).error();
        if (believed(*books)) {
            if (auto done = write(domain, **books); !done) log(LogLevel::warning, done.error().text());
            return (*books)->used;
        }
        return sum_anew(domain, sum);
    }
    auto held = lock(domain, LOCK_EX);
    if (!held) return std::move(held).error();
    books = read(domain);  // what was torn may be whole now, and somebody else may have summed meanwhile
    if (!books) return std::move(books).error();
    return believed(*books) ? Result<Usage>((*books)->used) : sum_anew(domain, sum);
}

Result<std::optional<Usage>> DomainBooks::peek(std::string_view domain) {
    auto books = read(domain);
    if (!books) return std::move(books).error();
    return *books ? std::optional((*books)->used) : std::nullopt;
}

Result<Usage> DomainBooks::recount(std::string_view domain, const Summing& sum) {
    auto held = lock(domain, LOCK_EX);
    if (!held) return std::move(held).error();
    return sum_anew(domain, sum);
}

Result<void> DomainBooks::forget(std::string_view domain) {
    auto gone = books_.remove(domain);
    return gone ? Result<void>() : Result<void>(std::move(gone).error());
}

Result<DomainBooks::Turn> DomainBooks::begin(std::string_view domain) {
    auto held = lock(domain, LOCK_SH);
    if (!held) return std::move(held).error();
    return Turn(*this, std::string(domain), *std::move(held));
}

void DomainBooks::Turn::enter(std::uint64_t bytes) {
    const std::string name = owner_.books_.path(domain_);
    auto fd = owner_.files_.open({AT_FDCWD, {}}, name, O_WRONLY | O_APPEND);
    if (!fd && fd.error().sys == ENOENT) return;
    Result<void> done = fd ? owner_.files_.write(fd->get(), line_of({bytes, 1}), name) : Result<void>(fd.error());
    if (done) return;
    log(LogLevel::warning, done.error().text());
    if (auto gone = owner_.forget(domain_); !gone) log(LogLevel::warning, gone.error().text());
}

}  // namespace roost
