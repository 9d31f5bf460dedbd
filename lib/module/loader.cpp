#include "module/loader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/filesystem/directory.hpp>
#include <boost/filesystem/operations.hpp>
#include <map>
#include <mutex>

#include "base/fd.h"
#include "base/text.h"
#include "module/linked.h"
#include "module/shared_object.h"

namespace roost {
namespace {

std::string file_name(ModuleKind kind, std::string_view name) {
    return std::string(module_kind_name(kind)) + "-" + std::string(name) + ".so";
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

// The file must be one that only its owner can change.
Result<void> check_file(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0)
        return module_error(path, system_error(errno, {}).why, "check store.mda, store.creator and store.modules");
    if (!S_ISREG(st.st_mode)) return module_error(path, "it is not a regular file", "check store.modules");
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return module_error(path, "others than its owner may write to it", "chmod go-w " + path);
    return {};
}

// Whether the file is the shared object with this build ID, which stands near its beginning.
bool has_build_id(const std::string& path, std::string_view id) {
    constexpr std::string_view kNote("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16);
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> head{};
    const ssize_t got = fd ? ::read(fd.get(), head.data(), head.size()) : -1;
    if (got < 0) return false;
    const std::string_view text(head.data(), static_cast<std::size_t>(got));
    const auto at = text.find(kNote);
    return at != std::string_view::npos && text.substr(at + kNote.size()).starts_with(id);
}

}  // namespace

Error module_error(const std::string& what, std::string why, std::string hint) {
    return config_error("cannot load the module " + what, std::move(why), std::move(hint));
}

std::string_view default_module_dir() { return ROOST_MODULE_DIR; }

std::string_view module_kind_name(ModuleKind kind) { return kind == ModuleKind::mda ? "mda" : "creator"; }

Result<const ModuleInfo*> load_module(const std::string& dir, ModuleKind kind, std::string_view name) {
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (!plain)
        return module_error("'" + printable(name) + "'", "that is no module's name",
                            "names have lower-case letters, digits, - and _");
    const LinkedModule* copy = nullptr;
    for (const LinkedModule& module : linked_modules())
        if (module.info->kind == kind && module.info->name == name) copy = &module;
    if (copy != nullptr && copy->build_id.empty()) return checked(copy->info, std::string(name), kind, name);

    static std::mutex mutex;
    static std::map<std::string, const ModuleInfo*> loaded;  // by path; what is loaded stays
    const std::string path = dir + "/" + file_name(kind, name);
    const std::lock_guard guard(mutex);
    if (const auto known = loaded.find(path); known != loaded.end()) return known->second;
    auto sound = check_file(path);
    if (!sound) return std::move(sound).error();
    const ModuleInfo* info = nullptr;
    if (copy != nullptr && has_build_id(path, copy->build_id)) {
        info = copy->info;
    } else {
        auto entry = load_shared_object(path);
        if (!entry) return std::move(entry).error();
        info = (*entry)();
    }
    auto module = checked(info, path, kind, name);
    if (module) loaded.emplace(path, *module);
    return module;
}

Result<std::vector<std::string>> list_modules(const std::string& dir, ModuleKind kind) {
    namespace fs = boost::filesystem;
    std::vector<std::string> names;
    for (const LinkedModule& module : linked_modules())
        if (module.info->kind == kind && module.build_id.empty()) names.emplace_back(module.info->name);
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
