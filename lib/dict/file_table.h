// What a file of Dovecot's file dict holds.
//
// Lines alternate keys and values, each ended by LF. In either, the bytes NUL, 0x01, TAB, CR and LF are written as 0x01
// and "0", "1", "t", "r" or "n". The order of the pairs means nothing: Dovecot's is that of a hash table with a random
// seed; here they are sorted.
#pragma once

#include "dict/dict.h"

#include <map>

namespace roost {

// Keys with their values. One thread at a time.
class FileTable {
public:
    // What is no whole pair of lines at the end is dropped, as Dovecot does.
    static FileTable parse(std::string_view text);
    std::string text() const;

    bool empty() const { return values_.empty(); }
    std::optional<std::string> get(const std::string& key) const;
    // False: an add to what is no number, or beyond 64 bits; the key is as it was.
    bool apply(const DictChange& change);

private:
    std::map<std::string, std::string> values_;
};

}  // namespace roost
