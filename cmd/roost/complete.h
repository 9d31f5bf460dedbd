// What the shell's completion asks.
#pragma once

#include <string>
#include <vector>

namespace roost::cli {

// The words that can stand in place of the last of `words` (the command line after "roost", up to the cursor), sorted:
// commands, options, keys with "=", values, names from the database. Keys are those of the configuration that the words
// name, or the program's own if it cannot be read; nothing is ever an error or printed.
std::vector<std::string> complete(const std::vector<std::string>& words);

}  // namespace roost::cli
