// Opening the user database, and reading names and settings from operands.
#pragma once

#include "command_line.h"
#include "config/config.h"
#include "user/sql_user_db.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace roost::cli {

// The configuration that the options name.
Result<Config> read_config(const Options& options);
Result<std::unique_ptr<SqlUserDb>> open_database(const Config& config, SqlUserDb::Missing missing);

// Names in the form in which the database holds them. Errors are malformed.
Result<std::string> user_name(std::string_view typed);
Result<std::string> domain_name(std::string_view typed);
Result<std::string> plan_name(std::string_view typed);

// `what`: "user", "domain" or "plan". Its status is kUnknown.
Error no_such(std::string_view what, std::string_view name);

// The record of a user; an Error if there is none.
Result<UserRecord> need_user(UserDb& db, std::string_view name);

// What operands ask to be changed. `enabled` and `plan` are columns of their own and are spelled like settings.
struct Changes {
    std::vector<SettingChange> settings;
    std::optional<bool> enabled;      // at Level::user alone
    std::optional<std::string> plan;  // at Level::domain alone; empty removes it
};

// Reads "key=value" operands and checks each for `level`. `where` begins the messages: "user alice@example.org".
// Errors are malformed.
Result<Changes> read_assignments(const Schema& schema, Level level, const std::string& where,
                                 std::span<const std::string> operands);

// Reads the keys to be removed. `present`: what the record holds; a key that neither it nor the schema knows is an
// Error, since it was surely mistyped.
Result<Changes> read_keys(const Schema& schema, Level level, const std::string& where, const Settings& present,
                          std::span<const std::string> operands);

}  // namespace roost::cli
