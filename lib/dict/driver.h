// How make_dict knows the drivers.
#pragma once

#include "dict/dict.h"

#include <span>

namespace roost {

// One scheme of URIs. Texts live as long as the program.
struct DictDriver {
    std::string_view scheme;
    // Makes the dict of a URI of that scheme as make_dict promises. Null: a later driver of the scheme is to do it.
    Result<std::unique_ptr<Dict>> (*make)(std::string_view uri);
};

// The drivers that need large libraries (OpenSSL, resolving names, clients of SQL servers): asked where no other driver
// makes the dict. They are a library of their own, libroost-dicts, which the statically linked roost-deliver is
// without: there this is cmd/roost-deliver/hand_over.cpp's, which becomes the program that has them.
Result<std::span<const DictDriver>> large_dict_drivers();

}  // namespace roost
