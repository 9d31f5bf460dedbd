// Reading the names in a directory, and telling whether they are still the same.
#pragma once

#include <cstddef>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/result.h"

namespace roost::maildir {

struct Entry {
    std::string name;
    unsigned char type;  // DT_DIR and the like from dirent.h, DT_UNKNOWN where the file system does not tell
};

// Calls `visit` for each entry of the open directory `fd` but "." and "..", from where the descriptor stands, until the
// end or the first Error. `path` is for messages. With `one_batch` it stops after what one system call returns, some
// hundreds of names.
Result<void> each_entry(int fd, std::string_view path, const std::function<Result<void>(const Entry&)>& visit,
                        bool one_batch = false);

// True if the open directory `fd` surely has no entry. Reads from its beginning, and leaves the descriptor there.
bool is_empty(int fd, std::string_view path);

// When the open directory last changed, at a moment from which on every further change shows: a file system's times go
// by ticks, and what changes twice within one looks unchanged. Waits for the tick to end; a directory that changes all
// the time gets its last look. Nothing: it is empty, as that of a new mailbox, and looking again tells as much.
Result<std::optional<struct timespec>> settled_change(int fd, std::string_view path);

// A directory as it was before it was listed.
struct Seen {
    std::string path;                        // from the mailbox's root
    std::optional<struct timespec> changed;  // none: it was empty
};

// False if the directory, below `root`, may have changed since.
bool is_unchanged(Files& files, DirRef root, const Seen& seen);

}  // namespace roost::maildir
