// The books of an mbox file: what it was found to hold, and the append that is going on. See README.md for the format.
#pragma once

#include "base/files.h"
#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>

namespace roost::mbox {

// How many messages a file holds, believed only while its inode, size and time of last change are these.
struct Count {
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t changed = 0;  // nanoseconds
    std::uint64_t messages = 0;

    static Count of(const struct stat& st, std::uint64_t messages);
    bool fits(const struct stat& st) const;
};

// An append that has not been settled. It stands from before the first byte is written until all bytes are safe: while
// it stands, nobody was told that the message is delivered.
struct Intent {
    // Of the appended text this many bytes at most are kept here.
    static constexpr std::size_t kWitness = 64UL * 1024;

    std::uint64_t inode = 0;
    std::uint64_t size = 0;    // of the file before the append
    std::uint64_t length = 0;  // of the appended text
    std::string witness;       // the first bytes of the appended text
};

struct Journal {
    std::optional<Count> count;
    std::optional<Intent> intent;
};

// Reads the books. What is empty or damaged, as a power cut leaves it, says nothing: an intent whose writing was never
// finished belongs to an append that never began. Books of a later version are an Error.
Result<Journal> read_journal(int fd, const std::string& path);
// The books without an intent that may stand there: cheap.
Result<std::optional<Count>> read_count(int fd, const std::string& path);
// Writes the books in place; durable if the file was opened so.
Result<void> write_journal(Files& files, int fd, const std::string& path, const Journal& journal);

}  // namespace roost::mbox
