// What a file of Dovecot's file dict holds.
//
// Lines alternate keys and values, each ended by LF. In either, the bytes NUL, 0x01, TAB, CR and LF are written as 0x01
// and "0", "1", "t", "r" or "n". Dovecot writes the lines in the order of its hash table, and so does this, so that the
// file is the same whoever wrote it.
#pragma once

#include "dict/dict.h"

#include <utility>

namespace roost {

// Keys with their values. One thread at a time.
class FileTable {
public:
    // What is no whole pair of lines at the end is dropped, as Dovecot does.
    static FileTable parse(std::string_view text);
    std::string text() const;

    bool empty() const { return count_ == 0; }
    std::optional<std::string> get(std::string_view key) const;
    // False: an add to what is no number, or beyond 64 bits; `key` is as it was.
    bool apply(const DictChange& change);

private:
    using Entry = std::pair<std::string, std::string>;

    std::vector<Entry>& bucket(std::string_view key);
    const Entry* find(std::string_view key) const;
    void set(const std::string& key, std::string value);
    void unset(const std::string& key);
    void resize(bool grow);

    std::vector<std::vector<Entry>> buckets_ = std::vector<std::vector<Entry>>(kFewest);
    std::size_t count_ = 0;

    static constexpr std::size_t kFewest = 67;
};

}  // namespace roost
