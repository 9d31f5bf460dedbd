// Reading the names in a directory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

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

}  // namespace roost::maildir
