// A note on a database's write-ahead log of the file that it belongs to.
//
// SQLite goes by the names alone: where another file, such as a backup, has taken the database's place, it lays the
// pages of the former one's log over that, which ruins it. So Roost's programs note on the log, in an extended
// attribute, which file it lies beside and how far that has come. Only checkpoints write to that file, and none takes
// it back.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace roost {

struct LogNote {
    // A file of this file system, told from all others that had its name or its inode.
    struct File {
        std::uint64_t inode = 0;
        std::int64_t born = 0;
        std::uint64_t born_nanoseconds = 0;
        bool operator==(const File&) const = default;
    };
    // The database file's first bytes, and padding: https://www.sqlite.org/fileformat.html#the_database_header
    using Header = std::array<unsigned char, 104>;
    static constexpr int kHeader = 100;

    File log;  // else a copy of the log, which keeps its attributes, would be taken for it
    File database;
    Header header{};

    // Whether a database that was as `former` says can have come to this by checkpoints of that log. Not whether it
    // has: a file that was copied over the database without making a new one, and whose change counter is not lower,
    // passes.
    bool follows(const LogNote& former) const;
    bool operator==(const LogNote&) const = default;
};

// Nothing: there is no such file. `size`, if given, becomes its size.
std::optional<LogNote::File> identify(const std::string& path, std::uint64_t* size = nullptr);

// The note on `log`, which is `self`. Nothing where there is none, and on file systems without such attributes.
std::optional<LogNote> read_log_note(const std::string& log, const LogNote::File& self);
// As far as the file system and its permissions let it.
void write_log_note(const std::string& log, const LogNote& note) noexcept;
void remove_log_note(const std::string& log) noexcept;

}  // namespace roost
