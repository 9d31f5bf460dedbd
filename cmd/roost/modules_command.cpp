// roost modules.
#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/text.h"
#include "commands.h"
#include "module/linked.h"
#include "module_dir.h"
#include "output.h"

namespace roost::cli {
namespace {

struct Row {
    ModuleKind kind;
    std::string name;
    std::string summary;
    std::string file;  // empty: linked in
    bool selected = false;
    std::string error;  // empty: it loads
};

bool is_linked(ModuleKind kind, std::string_view name) {
    const auto& linked = linked_modules();
    return std::any_of(linked.begin(), linked.end(), [&](const LinkedModule& module) {
        return module.info->kind == kind && module.info->name == name;
    });
}

Row make_row(const std::string& dir, ModuleKind kind, const std::string& name, bool selected) {
    Row row{kind, name, {}, {}, selected, {}};
    if (!is_linked(kind, name)) row.file = dir + "/" + std::string(module_kind_name(kind)) + "-" + name + ".so";
    auto module = load_module(dir, kind, name);
    if (module) {
        row.summary = (*module)->summary;
    } else {
        row.error = module.error().text();
    }
    return row;
}

void print(Listing& listing, const Row& row) {
    if (listing.json()) {
        listing.row(Json{{"kind", module_kind_name(row.kind)},
                         {"name", row.name},
                         {"summary", row.summary},
                         {"file", row.file.empty() ? Json(nullptr) : Json(row.file)},
                         {"selected", row.selected},
                         {"loadable", row.error.empty()},
                         {"error", row.error.empty() ? Json(nullptr) : Json(row.error)}});
        return;
    }
    constexpr int kColumn = 10;
    std::ostringstream line;
    line << (row.selected ? "* " : "  ") << std::left << std::setw(kColumn) << module_kind_name(row.kind)
         << std::setw(kColumn) << printable(row.name) << ' '
         << printable(row.error.empty() ? row.summary : "BROKEN: " + row.error);
    listing.line(line.str());
}

}  // namespace

// Reads the file without the modules' tables: this is where one looks when a module keeps the rest from starting.
Result<int> list_all_modules(const Options& options) {
    auto file = ConfigFile::read(options.config_path, options.overrides);
    if (!file) return std::move(file).error();
    const Schema schema;
    const auto value = [&](std::string_view key) {
        const ConfigFile::Entry* entry = file->find(key);
        return entry == nullptr ? std::string(schema.find(key)->default_value) : entry->value;
    };
    const std::string dir = module_dir(value("store.modules"));
    int status = kSuccess;
    Listing listing(options.json);
    for (const ModuleKind kind : {ModuleKind::mda, ModuleKind::creator}) {
        const std::string selected = value(kind == ModuleKind::mda ? "store.mda" : "store.creator");
        auto names = list_modules(dir, kind);
        if (!names) {
            print_error(names.error());
            status = kFailure;
            names = std::vector<std::string>();
        }
        if (std::find(names->begin(), names->end(), selected) == names->end()) names->push_back(selected);
        for (const std::string& name : *names) {
            const Row row = make_row(dir, kind, name, name == selected);
            if (row.selected && !row.error.empty()) status = kFailure;
            print(listing, row);
        }
    }
    return status;
}

}  // namespace roost::cli
