// Keeping the process to its directories, with Landlock.
#pragma once

#include "base/result.h"

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace roost {

// Absolute paths; each stands for all that is below it, if it is a directory.
struct Reach {
    std::vector<std::string> writes;
    std::vector<std::string> reads;  // beside those; what is not there counts for nothing
};

// What Landlock (landlock(7)) leaves of the file system to the process. From then on the kernel refuses anything else,
// whatever the process's user and its capabilities: files and directories cannot be opened, made, removed or moved.
// What was open stays open, and connecting to sockets is as before. Lasts until the process ends. One thread at a time.
class Confinement {
public:
    // Confines this thread and all that it starts from now on; privileges must have been given up before. A directory
    // to write to that is not there is represented by the nearest one above it, since it may be made. An Error says why
    // nothing is confined: this kernel cannot do it, or it would be for nothing.
    Result<void> begin(const Reach& reach);

    bool on() const { return !grants_.empty(); }
    // Whether all this is within reach: always, if nothing is confined. An Error (misconfigured) names what is not.
    Result<void> admits(const Reach& reach) const;

private:
    // What one rule lets through.
    struct Grant {
        std::string path;  // without links
        dev_t device;
        ino_t inode;
        bool writes;
    };
    std::vector<Grant> grants_;
};

}  // namespace roost
