// The modules that were linked into the program, with the build option ROOST_STATIC_MODULES.
#pragma once

#include <vector>

#include "module/module.h"

namespace roost {

// Empty when modules are shared objects.
const std::vector<const ModuleInfo*>& linked_modules();

}  // namespace roost
