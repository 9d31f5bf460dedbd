// What Roost needs beside good settings: files and directories, tried as the user who runs this, and left as they are.
// Errors name the setting.
#pragma once

#include "base/result.h"
#include "config/config.h"

#include <string>
#include <vector>

namespace roost::cli {

// Whether files could be made in a directory, or it could be made itself. `path` is absolute, `key` names the setting.
Result<void> check_directory(const std::string& key, const std::string& path);

// Whether log.target can be written to.
Result<void> check_log(const std::string& target);

// Whether the user database, which is there, can be written to.
Result<void> check_database(const Config& config);

// What would keep quota.warning-message and quota.warning-command, as the file has them, from warning anybody.
std::vector<Error> check_warnings(const Config& config);

}  // namespace roost::cli
