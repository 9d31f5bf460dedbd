// roost config show, sample and man; config check is in config_check.cpp.
#include <iostream>

#include "base/text.h"
#include "commands.h"
#include "config/render.h"
#include "module_dir.h"
#include "output.h"
#include "records.h"

#include <unistd.h>

namespace roost::cli {
namespace {

void show_value(Listing& listing, std::string_view key, std::string_view value, std::string_view origin) {
    if (listing.json()) {
        listing.row(Json{{"key", key}, {"value", value}, {"origin", origin}});
    } else {
        listing.line(std::string(key) + " = " + printable(value) + "  (" + printable(origin) + ")");
    }
}

// The tables of the program and of all modules. Works without a configuration, since the sample is what one is made
// from; a module that does not load is reported and left out.
Result<std::vector<NamedTable>> all_tables(const Options& options, int& status) {
    constexpr const char* kNone = "/dev/null";
    const bool none = !options.config_given && ::access(options.config_path.c_str(), F_OK) != 0;
    auto file = ConfigFile::read(none ? kNone : options.config_path, options.overrides);
    if (!file) return std::move(file).error();
    const ConfigFile::Entry* setting = file->find("store.modules");
    const std::string dir = module_dir(setting == nullptr ? std::string() : setting->value);

    std::vector<NamedTable> tables{{{}, core_settings()}};
    for (const ModuleKind kind : {ModuleKind::mda, ModuleKind::creator}) {
        auto names = list_modules(dir, kind);
        if (!names) return std::move(names).error();
        for (const std::string& name : *names) {
            auto module = load_module(dir, kind, name);
            if (!module) {
                print_error(module.error());
                status = kFailure;
            } else if (!(*module)->settings.empty()) {
                const std::string title = kind == ModuleKind::mda ? "MDA module " : "Creator module ";
                tables.push_back({title + name + ": " + (*module)->summary, (*module)->settings});
            }
        }
    }
    return tables;
}

}  // namespace

Result<int> config_show(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    if (options.operands.empty()) {
        Listing listing(options.json);
        for (const std::string& key : config->keys()) show_value(listing, key, config->text(key), config->origin(key));
        return kSuccess;
    }
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    auto record = need_user(**db, *name);
    if (!record) return std::move(record).error();
    auto user = User::make(*config, *std::move(record));
    if (!user) return std::move(user).error();
    Listing listing(options.json);
    for (const std::string& key : user->settings().keys()) {
        const Cascade::Value value = user->settings().explain(key);
        show_value(listing, key, value.text, value.origin);
    }
    return kSuccess;
}

Result<int> config_sample(const Options& options) {
    int status = kSuccess;
    auto tables = all_tables(options, status);
    if (!tables) return std::move(tables).error();
    std::cout << render_sample(*tables);
    return status;
}

Result<int> config_man(const Options& options) {
    int status = kSuccess;
    auto tables = all_tables(options, status);
    if (!tables) return std::move(tables).error();
    std::cout << render_manual(*tables);
    return status;
}

}  // namespace roost::cli
