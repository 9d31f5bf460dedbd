// Dicts of a file for each user, which Dovecot's file dict may read and change at the same time.
#pragma once

#include "base/files.h"
#include "dict/dict.h"

namespace roost {

// As make_dict: "file:PATH" and maybe "lock=dotlock", "fcntl" or "flock", where PATH is as FilePaths has it. `files`
// outlives the dict.
Result<std::unique_ptr<Dict>> make_file_dict(std::string_view uri, Files& files);

}  // namespace roost
