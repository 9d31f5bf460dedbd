// The modules that were linked into the program.
#pragma once

#include <string_view>
#include <vector>

#include "module/module.h"

namespace roost {

struct LinkedModule {
    const ModuleInfo* info;
    // The build ID (ELF note NT_GNU_BUILD_ID, 20 bytes) of the shared object that this is a copy of: it takes that
    // file's place, and no other's. Empty: there is no file, the build option ROOST_STATIC_MODULES made it so.
    std::string_view build_id;
};

// Written by the build.
const std::vector<LinkedModule>& linked_modules();

}  // namespace roost
