// Loading a module's file.
#pragma once

#include "base/result.h"
#include "module/module.h"

#include <string>

namespace roost {

using ModuleEntry = const ModuleInfo* (*)();

// Loads the shared object, for as long as the program runs, and finds its roost_module(). A program that is linked
// statically cannot, and brings a definition of its own that says so.
Result<ModuleEntry> load_shared_object(const std::string& path);

// An Error (misconfigured) about a module; `what` names it.
Error module_error(const std::string& what, std::string why, std::string hint);

}  // namespace roost
