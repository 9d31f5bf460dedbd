// The tables, and the numbered steps that bring an older database up to date.
#pragma once

#include "db/database.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// The SQL of step N at index N - 1. Each leaves its number in roost_schema.
using SchemaSteps = std::vector<std::string>;

// The steps of this release, from etc/schema/sqlite.sql.
const SchemaSteps& schema_steps();

// Splits such a file at its "-- step" lines; what stands before the first is left out.
SchemaSteps split_steps(std::string_view sql);

// Makes sure that `db` has the version that `steps` lead to: runs what is missing in one transaction, all or nothing.
// A database without Roost's tables is an Error (misconfigured) unless they are to be made. A newer version than
// `steps` know is an Error (misconfigured).
Result<void> bring_up_to_date(Database& db, std::span<const std::string> steps, Database::Missing missing);

}  // namespace roost
