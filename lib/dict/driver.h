// How make_dict knows the drivers.
#pragma once

#include "dict/dict.h"

#include <span>

namespace roost {

// One scheme of URIs. Texts live as long as the program.
struct DictDriver {
    std::string_view scheme;
    // Makes the dict of a URI of that scheme as make_dict promises.
    Result<std::unique_ptr<Dict>> (*make)(std::string_view uri);
};

// The drivers, in the order in which messages list them. One table, in make_dict.cpp: nothing registers itself.
std::span<const DictDriver> dict_drivers();

}  // namespace roost
