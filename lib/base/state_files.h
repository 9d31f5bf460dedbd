// Small files of one user or domain each, in a folder of the state directory.
#pragma once

#include "base/files.h"
#include "base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// STATE/FOLDER/NAME, each NAME as path_component() has it. The folder is made when something is first put there; what
// root makes belongs to the owner of the state directory, so that other users can deliver too. Nothing is synced. Any
// thread, any number of processes.
class StateFiles {
public:
    StateFiles(Files& files, const std::string& state, std::string_view folder)
        : files_(files), state_(state), folder_(state + "/" + std::string(folder)) {}

    // The file's text; nothing if there is none, or one of more than `limit` bytes.
    Result<std::optional<std::string>> get(std::string_view name, std::size_t limit);
    // Puts the file in place of the one that is there, if any: readers see the one or the other, whole.
    Result<void> put(std::string_view name, std::string_view text);
    // True: it was there.
    Result<bool> remove(std::string_view name);
    // Whose files there are, in any order.
    Result<std::vector<std::string>> names() const;

    // Opens a file that need not be there, of a path that path() gave.
    Result<Fd> open(const std::string& path, int flags);
    // `before`: put before the name; with a "." nobody else's file has that path.
    std::string path(std::string_view name, std::string_view before = {}) const;

private:
    Result<void> adopt(int fd, const std::string& path, const std::string& like);

    Files& files_;
    const std::string state_;
    const std::string folder_;
};

}  // namespace roost
