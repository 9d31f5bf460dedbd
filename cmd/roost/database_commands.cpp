// roost database create, upgrade and show.
#include <iostream>

#include "commands.h"
#include "output.h"
#include "records.h"

namespace roost::cli {
namespace {

Result<int> open_and_tell(const Options& options, SqlUserDb::Missing missing) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto db = open_database(*config, missing);
    if (!db) return std::move(db).error();
    if (!options.verbose) return kSuccess;
    auto summary = (*db)->summary();
    if (!summary) return std::move(summary).error();
    std::cout << summary->path << ": schema version " << summary->schema << '\n';
    return kSuccess;
}

}  // namespace

Result<int> database_create(const Options& options) { return open_and_tell(options, SqlUserDb::Missing::create); }

// Opening is what upgrades.
Result<int> database_upgrade(const Options& options) { return open_and_tell(options, SqlUserDb::Missing::fail); }

Result<int> database_show(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    auto summary = (*db)->summary();
    if (!summary) return std::move(summary).error();
    if (options.json) {
        print_json({{"path", summary->path},
                    {"schema", summary->schema},
                    {"users", summary->users},
                    {"mailboxes", summary->mailboxes},
                    {"domains", summary->domains},
                    {"plans", summary->plans}});
        return kSuccess;
    }
    print_field("path", summary->path);
    print_field("schema", std::to_string(summary->schema));
    print_field("users", std::to_string(summary->users));
    print_field("mailboxes", std::to_string(summary->mailboxes));
    print_field("domains", std::to_string(summary->domains));
    print_field("plans", std::to_string(summary->plans));
    return kSuccess;
}

}  // namespace roost::cli
