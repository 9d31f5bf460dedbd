// roost domain and roost plan: the two levels between file and user.
#include <iostream>

#include "base/text.h"
#include "commands.h"
#include "output.h"
#include "records.h"

namespace roost::cli {
namespace {

std::span<const std::string> after_name(const Options& options) { return std::span(options.operands).subspan(1); }

Json to_json(const DomainRecord& record) {
    return {{"name", record.name}, {"plan", record.plan}, {"settings", cli::to_json(record.settings)}};
}

Json to_json(const PlanRecord& record) { return {{"name", record.name}, {"settings", cli::to_json(record.settings)}}; }

// What every command here begins with.
struct Opened {
    Config config;
    std::string name;  // empty for listings
    std::unique_ptr<SqlUserDb> db;
};

Result<Opened> open(const Options& options, Result<std::string> (*read_name)(std::string_view),
                    SqlUserDb::Missing missing = SqlUserDb::Missing::fail) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = options.operands.empty() ? Result<std::string>(std::string()) : read_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto db = open_database(*config, missing);
    if (!db) return std::move(db).error();
    return Opened{*std::move(config), *std::move(name), *std::move(db)};
}

int done(const Options& options, std::string_view did, const std::string& name) {
    if (options.verbose) std::cout << did << ' ' << name << '\n';
    return kSuccess;
}

}  // namespace

Result<int> domain_set(const Options& options) {
    // The operands are checked before a missing database is made.
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = domain_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto changes = read_assignments(config->schema(), Level::domain, "domain " + *name, after_name(options));
    if (!changes) return std::move(changes).error();
    auto db = open_database(*config, SqlUserDb::Missing::create);
    if (!db) return std::move(db).error();
    auto changed = (*db)->change_domain(*name, changes->settings, changes->plan);
    if (!changed) return std::move(changed).error();
    return done(options, "set", *name);
}

Result<int> domain_unset(const Options& options) {
    auto opened = open(options, domain_name);
    if (!opened) return std::move(opened).error();
    auto record = opened->db->find_domain(opened->name);
    if (!record) return std::move(record).error();
    if (!*record) return no_such("domain", opened->name);
    auto changes = read_keys(opened->config.schema(), Level::domain, "domain " + opened->name, (*record)->settings,
                             after_name(options));
    if (!changes) return std::move(changes).error();
    auto changed = opened->db->change_domain(opened->name, changes->settings, changes->plan);
    if (!changed) return std::move(changed).error();
    return done(options, "changed", opened->name);
}

Result<int> domain_show(const Options& options) {
    auto opened = open(options, domain_name);
    if (!opened) return std::move(opened).error();
    auto record = opened->db->find_domain(opened->name);
    if (!record) return std::move(record).error();
    if (!*record) return no_such("domain", opened->name);
    if (options.json) {
        print_json(to_json(**record));
        return kSuccess;
    }
    print_field("domain", (*record)->name);
    print_field("plan", (*record)->plan.empty() ? "none" : (*record)->plan);
    print_field("settings", (*record)->settings.empty() ? "none of its own" : "");
    print_settings((*record)->settings);
    return kSuccess;
}

Result<int> domain_list(const Options& options) {
    auto opened = open(options, domain_name);
    if (!opened) return std::move(opened).error();
    auto records = opened->db->domains();
    if (!records) return std::move(records).error();
    Listing listing(options.json);
    for (const DomainRecord& record : *records) {
        if (options.json) {
            listing.row(to_json(record));
        } else {
            const std::string details = options.verbose ? "\t" + to_line(record.settings) : "";
            listing.line(printable(record.name) + (record.plan.empty() ? "" : "\t" + printable(record.plan)) + details);
        }
    }
    return kSuccess;
}

Result<int> domain_remove(const Options& options) {
    auto opened = open(options, domain_name);
    if (!opened) return std::move(opened).error();
    auto removed = opened->db->remove_domain(opened->name);
    if (!removed) return std::move(removed).error();
    if (!*removed) return no_such("domain", opened->name);
    return done(options, "removed", opened->name);
}

Result<int> plan_set(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = plan_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto changes = read_assignments(config->schema(), Level::plan, "plan " + *name, after_name(options));
    if (!changes) return std::move(changes).error();
    auto db = open_database(*config, SqlUserDb::Missing::create);
    if (!db) return std::move(db).error();
    auto changed = (*db)->change_plan(*name, changes->settings);
    if (!changed) return std::move(changed).error();
    return done(options, "set", *name);
}

Result<int> plan_unset(const Options& options) {
    auto opened = open(options, plan_name);
    if (!opened) return std::move(opened).error();
    auto record = opened->db->find_plan(opened->name);
    if (!record) return std::move(record).error();
    if (!*record) return no_such("plan", opened->name);
    auto changes = read_keys(opened->config.schema(), Level::plan, "plan " + opened->name, (*record)->settings,
                             after_name(options));
    if (!changes) return std::move(changes).error();
    auto changed = opened->db->change_plan(opened->name, changes->settings);
    if (!changed) return std::move(changed).error();
    return done(options, "changed", opened->name);
}

Result<int> plan_show(const Options& options) {
    auto opened = open(options, plan_name);
    if (!opened) return std::move(opened).error();
    auto record = opened->db->find_plan(opened->name);
    if (!record) return std::move(record).error();
    if (!*record) return no_such("plan", opened->name);
    if (options.json) {
        print_json(to_json(**record));
        return kSuccess;
    }
    print_field("plan", (*record)->name);
    print_field("settings", (*record)->settings.empty() ? "none" : "");
    print_settings((*record)->settings);
    return kSuccess;
}

Result<int> plan_list(const Options& options) {
    auto opened = open(options, plan_name);
    if (!opened) return std::move(opened).error();
    auto records = opened->db->plans();
    if (!records) return std::move(records).error();
    Listing listing(options.json);
    for (const PlanRecord& record : *records) {
        if (options.json) {
            listing.row(to_json(record));
        } else {
            listing.line(printable(record.name) + (options.verbose ? "\t" + to_line(record.settings) : ""));
        }
    }
    return kSuccess;
}

Result<int> plan_remove(const Options& options) {
    auto opened = open(options, plan_name);
    if (!opened) return std::move(opened).error();
    auto removed = opened->db->remove_plan(opened->name);
    if (!removed) return std::move(removed).error();
    if (!*removed) return no_such("plan", opened->name);
    return done(options, "removed", opened->name);
}

}  // namespace roost::cli
