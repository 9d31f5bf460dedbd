// What a module exports: see roost-modules(7).
#pragma once

#include "base/files.h"
#include "config/setting.h"
#include "module/creator.h"
#include "module/mda.h"

#include <cstdint>
#include <memory>

namespace roost {

// Grows whenever anything that a module sees changes its meaning or layout.
inline constexpr std::uint32_t kModuleAbi = 5;

enum class ModuleKind : std::uint32_t { mda = 1, creator = 2 };

// What a module may use of its host; everything here outlives the module's objects.
struct ModuleHost {
    const Config& config;
    Files& files;
    UserDb& db;
};

// A module's description: one constant object per module. `abi` comes first and is read before anything else.
struct ModuleInfo {
    std::uint32_t abi;
    ModuleKind kind;
    const char* name;       // as in the settings store.mda and store.creator, and in the file name mda-NAME.so
    const char* summary;    // one line
    SettingTable settings;  // every key begins with "NAME."
    Result<std::unique_ptr<Mda>> (*make_mda)(const ModuleHost& host);          // null unless kind is mda
    Result<std::unique_ptr<Creator>> (*make_creator)(const ModuleHost& host);  // null unless kind is creator
};

}  // namespace roost

// Defines a module's one exported function, for a ModuleInfo named `info`. With ROOST_STATIC_MODULES the function gets
// a name of its own, ROOST_MODULE_NAME being set by the build.
#ifdef ROOST_STATIC_MODULES
#define ROOST_MODULE_PASTE2(a, b) a##b
#define ROOST_MODULE_PASTE(a, b) ROOST_MODULE_PASTE2(a, b)
#define ROOST_MODULE_SYMBOL ROOST_MODULE_PASTE(roost_module_, ROOST_MODULE_NAME)
#else
#define ROOST_MODULE_SYMBOL roost_module
#endif
#define ROOST_MODULE(info) \
    extern "C" __attribute__((visibility("default"))) const roost::ModuleInfo* ROOST_MODULE_SYMBOL() { return &(info); }
