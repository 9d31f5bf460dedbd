// roost config check: everything that would keep Roost from working, one line each.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <iostream>
#include <system_error>
#include <unordered_map>

#include "base/text.h"
#include "commands.h"
#include "dry_run.h"
#include "module_dir.h"
#include "output.h"
#include "records.h"
#include "store/instance.h"
#include "terminal.h"

#include <fcntl.h>

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

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// Whether this process could make files in a directory, or could make the directory: tried with a file without a name.
void check_directory(const std::string& key, const std::string& path, Findings& findings) {
    constexpr mode_t kMode = 0600;
    const std::string what = key + " = " + printable(path);
    if (!path.starts_with('/')) return;  // told by its kind
    Files files;
    std::string dir = path;
    auto there = files.open_dir({AT_FDCWD, {}}, dir, Files::Follow::yes);
    while (!there && there.error().sys == ENOENT && dir != "/") {
        dir = parent_of(dir);
        there = files.open_dir({AT_FDCWD, {}}, dir, Files::Follow::yes);
    }
    if (there) {
        auto file = files.open({there->get(), dir}, ".", O_TMPFILE | O_WRONLY, kMode);
        const bool unsupported = !file && (file.error().sys == EOPNOTSUPP || file.error().sys == EISDIR);
        if (file || unsupported) return;
        there = std::move(file).error();
    }
    Error error = std::move(there).error();
    error.what = what;
    error.why = (dir == path ? "it cannot be written: " : "it cannot be made in " + dir + ": ") + error.why;
    if (error.hint.empty()) error.hint = "make the directory, for the user that runs Roost";
    findings.add(error);
}

void check_log(const std::string& target, Findings& findings) {
    if (target == "stderr" || target == "syslog") return;
    if (!target.starts_with('/')) {
        findings.add(config_error("log.target = " + printable(target), "it is neither stderr, syslog nor a path",
                                  "begin a file's path with /"));
        return;
    }
    const std::string dir = parent_of(target);
    // Nobody makes it.
    if (::access(dir.c_str(), F_OK) != 0) {
        findings.add(system_error(errno, "log.target = " + printable(target) + ": cannot look into " + dir,
                                  "make the directory, for the user that runs Roost"));
        return;
    }
    check_directory("log.target: directory", dir, findings);
}

// What only its use would show.
void check_uses(const Config& config, Findings& findings) {
    const auto wrong = [&](const std::string& key, const std::string& why, const std::string& hint) {
        findings.add(config_error(std::string(config.origin(key)) + ": " + key, why, hint));
    };
    if (config.duration("delivery.deadline").count() == 0)
        wrong("delivery.deadline", "no delivery can be that fast", "leave it out, or write 5m");
    const auto check_file = [&](const char* key, std::string_view path, int how) {
        if (path.empty() || path.find('%') != std::string_view::npos) return;
        if (::access(std::string(path).c_str(), how) != 0)
            wrong(key, printable(path) + ": " + std::generic_category().message(errno), "check the path");
    };
    for (const char* key : {"quota.warning-message", "lmtp.tls-certificate", "lmtp.tls-key"})
        check_file(key, config.text(key), R_OK);
    const std::vector<std::string> command = parse_words(config.text("quota.warning-command"));
    if (!command.empty() && !command.front().starts_with('/'))
        wrong("quota.warning-command", "it is no absolute path", "write /usr/bin/... or the like");
    else if (!command.empty())
        check_file("quota.warning-command", command.front(), X_OK);
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
    check_directory("store.state", draft.text("store.state"), findings);
    check_log(draft.text("log.target"), findings);

    auto busy_time = parse_duration(draft.text("users.busy-time"));
    auto db = SqlUserDb::open(draft.text("users.database"), SqlUserDb::Missing::fail,
                              busy_time ? *busy_time : std::chrono::milliseconds(0));
    findings.add_failure(db);
    if (db) findings.add_failure((*db)->check_integrity());

    // What is left needs a configuration without a fault in it.
    auto config = findings.any() && !db ? Result<Config>(Error{}) : read_config(options);
    if (config && db) {
        auto dry = DryRun::make(*config, **db);
        findings.add_failure(dry);
        check_dicts(*config, findings);
        check_uses(*config, findings);
        if (options.records) check_records(**db, *config, options, findings);
    }
    if (options.verbose && !findings.any()) std::cout << options.config_path << ": no problem found\n";
    return findings.any() ? kFailure : kSuccess;
}

}  // namespace roost::cli
