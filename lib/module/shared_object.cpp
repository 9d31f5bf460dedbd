#include "module/shared_object.h"

#include <dlfcn.h>

namespace roost {

Result<ModuleEntry> load_shared_object(const std::string& path) {
    // RTLD_LOCAL keeps modules out of each other's way.
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    // NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's is
    if (library == nullptr) return module_error(path, ::dlerror(), "build it against this version's headers");
    const auto entry = reinterpret_cast<ModuleEntry>(::dlsym(library, "roost_module"));  // as POSIX dlsym() has it
    if (entry == nullptr) return module_error(path, "it exports no roost_module", "is it a Roost module?");
    return entry;
}

}  // namespace roost
