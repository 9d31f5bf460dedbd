// The files in a journal's directory. Private to the journal.
#pragma once

#include "base/files.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace roost::journal {

inline constexpr mode_t kFileMode = 0600;

// The name of a file that is being made. What a crash leaves of it is in nobody's way.
inline constexpr const char* kUnfinished = "unfinished";

// Makes a file whole and synced, or not at all: `fill` writes it, then `place` gives it its name, or several, and
// leaves nothing called kUnfinished. Syncs the directory.
Result<void> make_file(Files& files, DirRef dir,
                       const std::function<Result<void>(int file, std::string_view path)>& fill,
                       const std::function<Result<void>()>& place);

// Room for everything from the first write on, so that no write needs the file system's own log, and none fails for
// lack of space.
Result<void> fill_with_zeroes(Files& files, int file, std::string_view path, std::uint64_t from, std::uint64_t to);

// Puts a segment that holds nothing in the place of whatever is called `name`. `aside`: called right before.
Result<void> make_segment(
    Files& files, DirRef dir, const std::string& name, std::uint64_t size,
    const std::function<Result<void>()>& aside = [] { return Result<void>(); });

}  // namespace roost::journal
