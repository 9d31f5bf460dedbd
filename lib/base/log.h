// The log: lines for administrators, to stderr, syslog or a file.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace roost {

enum class LogLevel { debug, info, warning, error, nothing };  // nothing: for open_log only

// Sets where the log goes: "stderr", "syslog" (facility mail) or a file's absolute path, opened for appending.
// Until it is called, warnings and errors go to stderr. `ident` is the program's name. Called again, it opens a log
// file anew, which may have been moved away meanwhile. An Error leaves the log as it was. Any thread.
Result<void> open_log(std::string_view ident, std::string_view target, LogLevel level);

// "debug", "info", "warning" or "error"; the settings table has let nothing else through.
LogLevel log_level(std::string_view name);

// One line. Control characters in `text` are escaped, so that no sender can forge a line. Any thread.
void log(LogLevel level, std::string_view text);

}  // namespace roost
