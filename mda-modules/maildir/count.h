// Counting a mailbox by looking at every message's name.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "entries.h"
#include "mailbox.h"
#include "quota/limits.h"

namespace roost::maildir {

// The size that a message's file name tells, ",S=bytes" up to the next "," or ":" or the end.
std::optional<std::uint64_t> size_in_name(std::string_view name);

// True if the name's flags have T, "trashed".
bool is_marked_trashed(std::string_view name);

// A mailbox's usage at one moment: what lies in new and cur of INBOX and of each folder. Not counted: names that begin
// with a dot, whatever is no regular file, dot directories without cur, those `left_out`, and, unless `count_trash`,
// the folder Trash and messages marked as trashed.
class Count {
public:
    static Result<Count> make(Files& files, const Mailbox& mailbox, bool count_trash,
                              const std::set<std::string>& left_out);

    const Usage& used() const { return used_; }
    // When INBOX's cur last changed, before it was counted; zero where a later change may look the same.
    struct timespec cur_changed() const {
        return cur_changed_;
    }
    // False if a directory changed since it was counted.
    bool still_holds(Files& files, const Mailbox& mailbox) const;

private:
    Count() = default;
    // `prefix`: the folder's directory and "/", or empty for INBOX.
    Result<void> add_maildir(Files& files, DirRef dir, const std::string& prefix, bool count_trashed);
    Result<void> add_directory(Files& files, DirRef dir, const std::string& name, const std::string& prefix,
                               bool count_trashed);

    Usage used_;
    std::vector<Seen> seen_;
    struct timespec cur_changed_ {};
};

}  // namespace roost::maildir
