// The command line of roost: its options and commands as tables, and what argv comes to.
#pragma once

#include "base/result.h"
#include "config/setting.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost::cli {

// Exit statuses of roost; roost-deliver's are in lib/base/outcome.h.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 64;    // EX_USAGE: what was typed is wrong
inline constexpr int kUnknown = 67;  // EX_NOUSER: no such user, domain or plan

// One option. A command line gives each at most once, except those that say otherwise.
struct OptionRow {
    std::string_view name;   // without the dashes
    char letter;             // 0: none
    std::string_view value;  // what its value is called; empty: it takes none
    std::string_view help;
};

// What was given. Options that a command does not take were refused before it sees this.
struct Options {
    std::string config_path;
    bool config_given = false;
    std::vector<std::string> overrides;  // each "key=value"
    bool quiet = false;
    bool verbose = false;
    bool json = false;
    bool purge = false;
    bool yes = false;
    bool all = false;
    bool check = false;
    bool prune = false;
    bool records = false;
    std::optional<std::string> domain;  // the first
    std::vector<std::string> domains;   // all, for commands that take several
    std::optional<std::string> over;
    std::optional<std::string> jobs;
    bool csv = false;
    std::optional<std::string> size;
    std::optional<std::string> from;    // where quota show takes usage from
    std::vector<std::string> operands;  // what follows the command's words
};

// What an operand of a command is, for completion.
enum class Operand { none, user, new_user, domain, plan, address, assignment, key };

// One command. `run` answers with an exit status; an Error is printed by main, which also chooses the status for it.
struct Command {
    std::string_view words;     // "user add"
    std::string_view synopsis;  // its operands for people
    Operand first;
    Operand rest;
    std::size_t least;         // how many operands it needs
    std::size_t most;          // and takes
    std::string_view options;  // the names of those it takes beside the common ones, separated by blanks; "+" behind
                               // one that may be repeated
    Level level;               // of the settings that its operands name
    std::string_view summary;  // one line for --help
    Result<int> (*run)(const Options& options);
};

inline constexpr std::size_t kAnyNumber = static_cast<std::size_t>(-1);

// All commands, in the order of the manual.
std::span<const Command> commands();
// All options. The first ones are common to all commands: see `is_common`.
std::span<const OptionRow> options();
bool is_common(const OptionRow& option);
// True if `command` takes the option, common ones included.
bool takes(const Command& command, const OptionRow& option);
bool may_repeat(const Command& command, const OptionRow& option);
// The command whose words `words` begins with, or null.
const Command* find_command(std::span<const std::string> words);

// What main is to do.
struct Invocation {
    const Command* command = nullptr;  // null: print `text`
    Options options;
    std::string text;  // what --help or --version print
};

// Reads argv without the program's name. Errors are malformed: something is wrong with what was typed.
Result<Invocation> parse_command_line(const std::vector<std::string>& arguments);

// {"user add": {"operands": "...", "options": [{"name": "--json", "letter": "", "value": "", "help": "..."}, ...]},
// ...}; the key "" holds the common options. For tests and tools.
std::string dump_options();

// An Error about what was typed; its status is kUsage.
Error usage_error(std::string what, std::string why, std::string hint);
// The status that an Error ends the program with.
int status_of(const Error& error);

}  // namespace roost::cli
