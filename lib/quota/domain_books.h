// The books of domains: what all users of a domain hold together, kept like Maildir++'s maildirsize.
//
// A domain has two files in the directory domain-quota of the state directory, named after it with a leading "." and
// "/", "%" and control characters as %HH. Neither holds anything but text in ASCII.
//
// NAME, the books. The first line is "roost-domain-quota 1 SECONDS": the version of the format, and when the users'
// books were summed last, in seconds since 1970. Each further line is signed bytes, a blank, a signed count and a
// newline; the sum of all of them is the usage. The first of them is what was summed; each delivery appends one, in a
// single write to a file opened with O_APPEND. A file that is missing, that has no or another first line, a malformed
// or unterminated line, no line of data, or a negative sum is not believed: the users' books are summed anew. So they
// are where the file says that the domain is full and the summing is 15 minutes old or lies in the future, which is
// when deletions by readers, which the file does not see, are seen. A file of 8192 bytes or more is replaced by one
// with the same first line and one line of data.
//
// .NAME, the lock, is empty and never removed or replaced. Whoever makes mail of the domain visible holds a shared
// flock(2) on it from before that until its line is appended; whoever replaces the books holds an exclusive one while
// it sums and until the new file, written beside it, is renamed. So a message is in the sum or in a line behind it,
// and in one alone. Reading takes no lock; what looks damaged is read again under the exclusive one.
//
// Nothing is synced. A crash between a message and its line, or a power cut that takes lines away, makes the books say
// too little until the users' books are summed next, and so the domain overshoot by that much at most: before it is
// refused mail, it is summed.
#pragma once

#include "base/fd.h"
#include "base/files.h"
#include "base/result.h"
#include "base/state_files.h"
#include "quota/limits.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace roost {

// Any thread, any number of processes on one machine.
class DomainBooks {
public:
    // Sums the users' books; called while the domain's lock is held.
    using Summing = std::function<Result<Usage>()>;

    // `state`: the state directory.
    DomainBooks(Files& files, const std::string& state) : files_(files), books_(files, state, "domain-quota") {}

    // What the domain holds: of its books if they can be believed with `coming` on top, else summed.
    Result<Usage> usage(std::string_view domain, const Limits& limits, const Usage& coming, const Summing& sum);
    // What the books say, believed or not; nothing if they are missing or damaged.
    Result<std::optional<Usage>> peek(std::string_view domain);
    // Sums, and writes the books anew.
    Result<Usage> recount(std::string_view domain, const Summing& sum);
    // Removes the books, since mail becomes visible that is not entered.
    Result<void> forget(std::string_view domain);

    // The time in which mail of the domain becomes visible and is entered.
    class Turn {
    public:
        // Mail of `bytes` is visible. Where there are no books nothing is entered. What cannot be entered makes the
        // books go, so that they are summed next time; a warning tells.
        void enter(std::uint64_t bytes);

    private:
        friend class DomainBooks;
        Turn(DomainBooks& owner, std::string domain, Fd lock)
            : owner_(owner), domain_(std::move(domain)), lock_(std::move(lock)) {}
        DomainBooks& owner_;
        std::string domain_;
        Fd lock_;
    };
    // Waits while the domain is summed.
    Result<Turn> begin(std::string_view domain);

private:
    struct Read {
        Usage used;
        std::int64_t summed = 0;  // seconds since 1970
        std::size_t size = 0;     // of the file
    };
    static std::optional<Read> parse(std::string_view text);
    Result<std::optional<Read>> read(std::string_view domain);
    Result<void> write(std::string_view domain, const Read& books);
    Result<Usage> sum_anew(std::string_view domain, const Summing& sum);
    Result<Fd> lock(std::string_view domain, int how);

    Files& files_;
    StateFiles books_;
};

}  // namespace roost
