// The command line of roostd.
#pragma once

#include "base/result.h"

#include <span>
#include <string>
#include <vector>

namespace roost {

struct DaemonOptions {
    std::string config_path;
    std::vector<std::string> overrides;  // -o key=value
    bool stdio = false;
    enum class Show { nothing, help, version, options } show = Show::nothing;
};

// Errors (malformed) name the flag.
Result<DaemonOptions> read_options(int argc, char** argv);

// Whether --stdio stands anywhere, so that an MTA reads what is said, whatever is wrong with the rest.
bool names_stdio(std::span<char* const> arguments);

// The text of --help.
std::string help_text();
// One option per line, as "-c FILE", for the test that holds the manual against the program.
std::string option_list();

}  // namespace roost
