// roost config check: everything that would keep Roost from working, one line each.
#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <iostream>
#include <unordered_map>

#include "base/text.h"
#include "commands.h"
#include "common/roostd_settings.h"
#include "dry_run.h"
#include "module_dir.h"
#include "net/listener.h"
#include "output.h"
#include "records.h"
#include "site_checks.h"
#include "store/instance.h"
#include "terminal.h"

namespace roost::cli {
namespace {

class Findings {
public:
    void add(const Error& error) {
        print_error(error);
        any_ = true;
    }
    template <class T>
    void add_failure(const Result<T>& result) {
        if (!result) add(result.error());
    }
    bool any() const { return any_; }

private:
    bool any_ = false;
};

// A setting's value before the file as a whole is known to be good: as the file has it, or the default.
class Draft {
public:
    Draft(const ConfigFile& file, const Schema& schema) : file_(file), schema_(schema) {}

    std::string text(std::string_view key) const {
        const ConfigFile::Entry* entry = file_.find(key);
        return entry == nullptr ? std::string(schema_.find(key)->default_value) : entry->value;
    }

private:
    const ConfigFile& file_;
    const Schema& schema_;
};

// Loads what is installed, so that every setting can be checked. Modules that are not selected may be broken without
// harm: "roost modules" tells. Returns the sections whose settings are unknown because their module is at fault.
std::vector<std::string> check_modules(const Draft& draft, Schema& schema, Findings& findings) {
    const std::string dir = module_dir(draft.text("store.modules"));
    std::vector<std::string> unknown;
    for (const ModuleKind kind : {ModuleKind::mda, ModuleKind::creator}) {
        const std::string selected = draft.text(kind == ModuleKind::mda ? "store.mda" : "store.creator");
        auto module = load_module(dir, kind, selected);
        if (!module) {
            findings.add(module.error());
            unknown.push_back(selected);
        }
        const auto names = list_modules(dir, kind);
        if (!names) continue;  // the selected module could not be found either
        for (const std::string& name : *names) {
            module = load_module(dir, kind, name);
            if (module) {
                findings.add_failure(schema.add((*module)->settings));
            } else if (name != selected) {
                unknown.push_back(name);
            }
        }
    }
    return unknown;
}

void check_entries(const ConfigFile& file, const Schema& schema, const std::vector<std::string>& unknown_sections,
                   Findings& findings) {
    for (const ConfigFile::Entry& entry : file.entries()) {
        const std::string section = entry.key.substr(0, entry.key.find('.'));
        if (std::find(unknown_sections.begin(), unknown_sections.end(), section) != unknown_sections.end()) continue;
        findings.add_failure(schema.check(entry.where, Level::file, entry.key, entry.value));
    }
}

// What roostd would not start with, and what would keep its sockets from being opened.
void check_services(const Config& config, Findings& findings) {
    findings.add_failure(read_lmtp_settings(config));
    findings.add_failure(read_policy_settings(config));
    findings.add_failure(read_metrics_endpoint(config));
    bool any = false;
    for (const char* key : {"lmtp.listen", "policy.listen", "metrics.listen"})
        for (const Endpoint& each : endpoints_of(config, key)) {
            any = any || std::string_view(key) != "metrics.listen";
            // Who leaves the default may deliver by roost-deliver alone.
            if (config.origin(key) == "default") continue;
            auto checked = net::Listener::check(each);
            // The service manager makes what is below /run when it starts roostd.
            if (checked || (each.path.starts_with("/run/") && checked.error().sys == ENOENT)) continue;
            checked.error().what = std::string(config.origin(key)) + ": " + key + ": " + checked.error().what;
            findings.add(checked.error());
        }
    if (!any) findings.add(no_socket(config));
}

// What would keep a new user from getting a mailbox where the configuration file says.
void check_mailboxes(const Config& config, SqlUserDb& db, Findings& findings) {
    auto dry = DryRun::make(config, db);
    if (!dry) return findings.add(dry.error());
    UserRecord nobody;
    nobody.domain = "localhost";
    nobody.name = "roost.config.check@" + nobody.domain;
    auto user = User::make(config, std::move(nobody));
    auto tried = user ? (*dry)->try_mailbox(db, *user) : Result<void>(std::move(user).error());
    if (tried) return;
    tried.error().what = "a new mailbox: " + tried.error().what;
    findings.add(tried.error());
}

// Whether the dicts that usage is kept in can be asked.
void check_dicts(const Config& config, Findings& findings) {
    constexpr std::chrono::seconds kPatience(5);
    const auto look = [&](const std::string& key, Result<std::unique_ptr<Dict>> dict) {
        if (!dict) return findings.add(dict.error());
        if (!*dict) return;
        // Nobody's usage will do.
        auto said =
            (*dict)->get("postmaster@localhost", std::array<std::string, 1>{kDictMessages}, Deadline::in(kPatience));
        if (said) return;
        said.error().what = key + ": " + said.error().what;
        findings.add(said.error());
    };
    look("quota.dict", authority_of(config));
    for (const char* key : {"quota.unified.dict", "quota-clone.dict"}) look(key, dict_of(config, key));
}

// Looks for paths that several records have, other than by the will of their own settings. Remembers a number for each
// path, and whose it is.
class SharedPaths {
public:
    explicit SharedPaths(SqlUserDb& db) : db_(db) {}

    Result<void> add(const UserRecord& record) {
        if (!record.allocation) return {};
        for (const auto& [key, path] : *record.allocation) {
            if (!path.starts_with('/') || record.settings.contains(key)) continue;
            const auto [first, is_new] = owners_.emplace(std::hash<std::string>()(path), record.name);
            if (is_new || first->second == record.name) continue;
            auto other = db_.find(first->second);
            if (!other || !*other || !(*other)->allocation) continue;
            for (const auto& each : *(*other)->allocation)
                if (each.second == path)
                    return config_error("user " + record.name + ": " + key + " = " + printable(path),
                                        "the mailbox of " + first->second + " lies there, too",
                                        "put %{user}, or %{domain} and %{local}, into " + key +
                                            ", and clear the allocation of who is to get another mailbox");
        }
        return {};
    }

private:
    SqlUserDb& db_;
    std::unordered_map<std::size_t, std::string> owners_;
};

void check_records(SqlUserDb& db, const Config& config, const Options& options, Findings& findings) {
    const auto check_level = [&](Level level, const std::string& name, const Settings& settings) {
        for (const auto& [key, value] : settings)
            findings.add_failure(
                config.schema().check(std::string(level_name(level)) + " " + printable(name), level, key, value));
    };
    if (auto plans = db.plans()) {
        for (const PlanRecord& plan : *plans) check_level(Level::plan, plan.name, plan.settings);
    } else {
        findings.add(plans.error());
    }
    if (auto domains = db.domains()) {
        for (const DomainRecord& domain : *domains) check_level(Level::domain, domain.name, domain.settings);
    } else {
        findings.add(domains.error());
    }
    SharedPaths paths(db);
    Progress progress("records checked", options.quiet);
    auto listed = db.each_user({}, [&](std::string_view name, Result<UserRecord> record) {
        if (record) {
            check_level(Level::user, std::string(name), record->settings);
            findings.add_failure(paths.add(*record));
        } else {
            progress.wipe();
            findings.add(record.error());
        }
        progress.step();
        return true;
    });
    findings.add_failure(listed);
}

}  // namespace

Result<int> config_check(const Options& options) {
    auto file = ConfigFile::read(options.config_path, options.overrides);
    if (!file) return std::move(file).error();

    Findings findings;
    Schema schema;
    const Draft draft(*file, schema);
    const auto unknown_sections = check_modules(draft, schema, findings);
    check_entries(*file, schema, unknown_sections, findings);
    // Else its kind has told.
    if (const std::string state = draft.text("store.state"); state.starts_with('/'))
        findings.add_failure(check_directory("store.state", state));
    findings.add_failure(check_log(draft.text("log.target")));

    auto busy_time = parse_duration(draft.text("users.busy-time"));
    auto db = SqlUserDb::open(draft.text("users.database"), SqlUserDb::Missing::fail,
                              busy_time ? *busy_time : std::chrono::milliseconds(0));
    findings.add_failure(db);
    if (db) findings.add_failure((*db)->check_integrity());

    // What is left needs a configuration without a fault in it.
    auto config = read_config(options);
    if (config) {
        check_services(*config, findings);
        check_dicts(*config, findings);
        for (const Error& error : check_warnings(*config)) findings.add(error);
    }
    if (config && db) {
        findings.add_failure(check_database(*config));
        check_mailboxes(*config, **db, findings);
        if (options.records) check_records(**db, *config, options, findings);
    }
    if (options.verbose && !findings.any()) std::cout << options.config_path << ": no problem found\n";
    return findings.any() ? kFailure : kSuccess;
}

}  // namespace roost::cli
