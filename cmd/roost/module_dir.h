// Where the modules are.
#pragma once

#include "module/loader.h"

#include <string>
#include <string_view>

namespace roost::cli {

// `setting`: the value of store.modules, which may be empty.
inline std::string module_dir(std::string_view setting) {
    return std::string(setting.empty() ? default_module_dir() : setting);
}

}  // namespace roost::cli
