#include "module/loader.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/filesystem/directory.hpp>
#include <boost/filesystem/operations.hpp>

#include "base/text.h"
#include "module/linked.h"

namespace roost {
namespace {

std::string file_name(ModuleKind kind, std::string_view name) {
    return std::string(module_kind_name(kind)) + "-" + std::string(name) + ".so";
}

Error module_error(const std::string& what, std::string why, std::string hint) {
    return config_error("cannot load the module " + what, std::move(why), std::move(hint));
}

// The module must be what it was asked for as. `abi` is looked at before any other field may be.
Result<const ModuleInfo*> checked(const ModuleInfo* info, const std::string& what, ModuleKind kind,
                                  std::string_view name) {
    if (info == nullptr) return module_error(what, "roost_module() returned nothing", "ask the module's author");
    if (info->abi != kModuleAbi)
        return module_error(what,
                            "it was built for module ABI " + std::to_string(info->abi) + ", this is Roost with ABI " +
                                std::to_string(kModuleAbi),
                            "build the module against this version's headers");
    if (info->kind != kind)
        return module_error(what, "it is no " + std::string(module_kind_name(kind)) + " module",
                            "check store.mda and store.creator");
    if (info->name == nullptr || info->name != name)
        return module_error(what, "it calls itself '" + printable(info->name == nullptr ? "" : info->name) + "'",
                            "name the file after the module");
    const bool makes = kind == ModuleKind::mda ? info->make_mda != nullptr : info->make_creator != nullptr;
    if (!makes) return module_error(what, "it has no function to make its object", "ask the module's author");
    const std::string section = std::string(name) + ".";
    for (const Setting& setting : info->settings)
        if (!setting.key.starts_with(section))
            return module_error(what, "its setting " + std::string(setting.key) + " is outside its section",
                                "ask the module's author");
    return info;
}

Result<const ModuleInfo*> load_file(const std::string& path, ModuleKind kind, std::string_view name) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0)
        return module_error(path, system_error(errno, {}).why, "check store.mda, store.creator and store.modules");
    if (!S_ISREG(st.st_mode)) return module_error(path, "it is not a regular file", "check store.modules");
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return module_error(path, "others than its owner may write to it", "chmod go-w " + path);
    // Never closed again: a module stays until the program ends. RTLD_LOCAL keeps modules out of each other's way.
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return module_error(path, ::dlerror(), "build it against this version's headers");
    using Entry = const ModuleInfo* (*)();
    const auto entry = reinterpret_cast<Entry>(::dlsym(library, "roost_module"));  // as POSIX dlsym() has it
    if (entry == nullptr) return module_error(path, "it exports no roost_module", "is it a Roost module?");
    return checked(entry(), path, kind, name);
}

}  // namespace

std::string_view default_module_dir() { return ROOST_MODULE_DIR; }

std::string_view module_kind_name(ModuleKind kind) { return kind == ModuleKind::mda ? "mda" : "creator"; }

Result<const ModuleInfo*> load_module(const std::string& dir, ModuleKind kind, std::string_view name) {
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (!plain)
        return module_error("'" + printable(name) + "'", "that is no module's name",
                            "names have lower-case letters, digits, - and _");
    for (const ModuleInfo* info : linked_modules())
        if (info->kind == kind && info->name == name) return checked(info, std::string(name), kind, name);
    return load_file(dir + "/" + file_name(kind, name), kind, name);
}

Result<std::vector<std::string>> list_modules(const std::string& dir, ModuleKind kind) {
    namespace fs = boost::filesystem;
    std::vector<std::string> names;
    for (const ModuleInfo* info : linked_modules())
        if (info->kind == kind) names.emplace_back(info->name);
    const std::string prefix = std::string(module_kind_name(kind)) + "-";
    constexpr std::string_view kSuffix = ".so";
    boost::system::error_code error;
    if (names.empty() || fs::exists(dir, error)) {
        fs::directory_iterator entry(dir, error);
        if (error) return config_error("cannot list the modules in " + dir, error.message(), "check store.modules");
        for (; entry != fs::directory_iterator(); entry.increment(error)) {
            const std::string file = entry->path().filename().string();
            if (file.starts_with(prefix) && file.ends_with(kSuffix) && file.size() > prefix.size() + kSuffix.size())
                names.push_back(file.substr(prefix.size(), file.size() - prefix.size() - kSuffix.size()));
        }
        if (error) return config_error("cannot list the modules in " + dir, error.message(), {});
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

}  // namespace roost
