// Finds modules, loads them, and stands between them and the host.
#pragma once

#include "base/result.h"
#include "module/module.h"

#include <string>
#include <string_view>
#include <vector>

namespace roost {

// Where the modules are when store.modules says nothing.
std::string_view default_module_dir();

// Loads DIR/KIND-NAME.so, or finds the linked-in module that stands for it. Errors (misconfigured), each one clear
// line: no such file, writable by others than root or its owner, not a module, wrong ABI, wrong kind, wrong name. A
// module stays loaded until the program ends; loading it again returns the same object.
Result<const ModuleInfo*> load_module(const std::string& dir, ModuleKind kind, std::string_view name);

// "mda" or "creator".
std::string_view module_kind_name(ModuleKind kind);

// The names of all modules in `dir`, or linked in, of one kind, sorted; whether they load is not looked at.
Result<std::vector<std::string>> list_modules(const std::string& dir, ModuleKind kind);

// Makes the module's object, wrapped so that an exception from any of its functions becomes an Error that names the
// module. The kind must fit.
Result<std::unique_ptr<Mda>> make_mda(const ModuleInfo& module, const ModuleHost& host);
Result<std::unique_ptr<Creator>> make_creator(const ModuleInfo& module, const ModuleHost& host);

}  // namespace roost
