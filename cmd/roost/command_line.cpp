#include "command_line.h"

#include <algorithm>
#include <array>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "base/nearest.h"
#include "base/text.h"
#include "store/instance.h"

namespace roost::cli {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kCommonOptions = 6;
constexpr std::array<OptionRow, 20> kOptions{{
    {"config", 'c', "FILE", "The configuration file, in place of /etc/roost/roost.conf."},
    {"override", 'o', "KEY=VALUE", "Overrides a setting of the configuration file. May be repeated."},
    {"quiet", 'q', "", "Shows no progress."},
    {"verbose", 'v', "", "Says what was done."},
    {"help", 'h', "", "Explains the command."},
    {"version", 0, "", "Prints the version."},
    {"json", 0, "", "Prints JSON."},
    {"domain", 0, "DOMAIN", "Only the users of this domain."},
    {"all", 0, "", "All users."},
    {"over", 0, "PERCENT", "Only users who have used more than this share of a limit, as 90%."},
    {"csv", 0, "", "Prints comma-separated values."},
    {"jobs", 0, "N", "How many users to look at at a time; as many as there are processors if not given."},
    {"check", 0, "", "Changes nothing; prints the users whose counts differ and fails if there are any."},
    {"prune", 0, "", "Removes from the clone what it holds of users that do not exist."},
    {"records", 0, "", "Also checks every plan, domain and user record."},
    {"purge", 0, "", "Removes the mailbox with all its mail as well."},
    {"yes", 0, "", "Does not ask."},
    {"from", 0, "SOURCE", "Where usage is taken from, if not from the mailboxes: clone."},
    {"size", 0, "SIZE", "The size of the message as stored, as 512K or 10M; 8K if not given."},
    {"dump-options", 0, "", ""},
}};
constexpr std::string_view kHidden = "dump-options";

std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) out.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

bool begins_with(std::span<const std::string> words, std::string_view command) {
    const auto wanted = split_words(command);
    return words.size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), words.begin());
}

std::string spelled(const OptionRow& option) {
    std::string out = option.letter == 0 ? std::string("    ") : std::string({'-', option.letter, ',', ' '});
    out += "--" + std::string(option.name);
    if (!option.value.empty()) out += " " + std::string(option.value);
    return out;
}

std::string columns(const std::string& left, std::string_view right) {
    constexpr std::size_t kRight = 30;
    std::string line = "  " + left;
    line.append(line.size() < kRight ? kRight - line.size() : 2, ' ');
    return line + std::string(right) + "\n";
}

std::string synopsis(const Command& command) {
    std::string out = "roost " + std::string(command.words);
    if (!command.synopsis.empty()) out += " " + std::string(command.synopsis);
    for (const OptionRow& option : options())
        if (!is_common(option) && takes(command, option))
            out +=
                " [--" + std::string(option.name) + (option.value.empty() ? "" : " " + std::string(option.value)) + "]";
    return out;
}

std::string option_help(const Command* command) {
    std::string out;
    for (const OptionRow& option : options())
        if (option.name != kHidden && (is_common(option) || (command != nullptr && takes(*command, option))))
            out += columns(spelled(option), option.help);
    return out;
}

// Help for the commands that `words` begins: one, those of a group, or all.
std::string help(const std::vector<std::string>& words) {
    if (const Command* command = find_command(words))
        return "usage: " + synopsis(*command) + "\n" + std::string(command->summary) + "\n\noptions:\n" +
               option_help(command);
    std::string list;
    for (const Command& command : commands())
        if (words.empty() || split_words(command.words).front() == words.front())
            list += columns(std::string(command.words), command.summary);
    if (list.empty()) return help({});
    return "usage: roost [options] command [operands]\n\ncommands:\n" + list + "\noptions:\n" + option_help(nullptr) +
           "\n\"roost COMMAND --help\" explains a command; the manual is roost(8).\n";
}

po::options_description described() {
    po::options_description out;
    for (const OptionRow& option : options()) {
        std::string name(option.name);
        if (option.letter != 0) name += std::string({',', option.letter});
        if (option.value.empty()) {
            out.add_options()(name.c_str(), "");
        } else {
            out.add_options()(name.c_str(), po::value<std::string>(), "");
        }
    }
    return out;
}

const OptionRow* find_option(std::string_view name) {
    const auto row = std::find_if(kOptions.begin(), kOptions.end(), [&](const OptionRow& o) { return o.name == name; });
    return row == kOptions.end() ? nullptr : &*row;
}

Error unknown_option(std::string_view typed) {
    std::vector<std::string_view> names;
    for (const OptionRow& option : options())
        if (option.name != kHidden) names.push_back(option.name);
    const std::string_view near = nearest(typed.substr(std::min(typed.find_first_not_of('-'), typed.size())), names);
    return usage_error("option " + printable(typed), "there is no such option",
                       near.empty() ? "\"roost --help\" lists all" : "did you mean --" + std::string(near) + "?");
}

// The error for words that begin no command.
Error unknown_command(const std::vector<std::string>& words) {
    if (words.empty()) return usage_error("no command", "roost needs one", "\"roost --help\" lists all");
    std::vector<std::string_view> groups;
    std::vector<std::string_view> verbs;  // the second words of this group
    for (const Command& command : commands()) {
        const auto parts = split_words(command.words);
        groups.push_back(parts.front());
        if (parts.size() > 1 && parts.front() == words.front()) verbs.push_back(parts[1]);
    }
    if (verbs.empty()) {
        const std::string_view near = nearest(words.front(), groups);
        return usage_error("command " + printable(words.front()), "there is no such command",
                           near.empty() ? "\"roost --help\" lists all" : "did you mean " + std::string(near) + "?");
    }
    std::string list;
    for (const std::string_view verb : verbs) list += (list.empty() ? "" : ", ") + std::string(verb);
    if (words.size() == 1) return usage_error("command " + words.front(), "it is not complete", "add one of " + list);
    const std::string_view near = nearest(words[1], verbs);
    return usage_error("command " + words.front() + " " + printable(words[1]), "there is no such command",
                       near.empty() ? "use one of " + list : "did you mean " + std::string(near) + "?");
}

void set_option(Options& out, std::string_view name, const std::string& value) {
    if (name == "config") {
        out.config_path = value;
        out.config_given = true;
    } else if (name == "override") {
        out.overrides.push_back(value);
    } else if (name == "domain") {
        if (!out.domain) out.domain = value;
        out.domains.push_back(value);
    } else if (name == "over") {
        out.over = value;
    } else if (name == "jobs") {
        out.jobs = value;
    } else if (name == "from") {
        out.from = value;
    } else if (name == "size") {
        out.size = value;
    } else {
        const std::map<std::string_view, bool Options::*> flags{
            {"quiet", &Options::quiet}, {"verbose", &Options::verbose}, {"json", &Options::json},
            {"all", &Options::all},     {"csv", &Options::csv},         {"check", &Options::check},
            {"prune", &Options::prune}, {"records", &Options::records}, {"purge", &Options::purge},
            {"yes", &Options::yes}};
        const auto flag = flags.find(name);
        if (flag != flags.end()) out.*(flag->second) = true;
    }
}

Result<void> check_operands(const Command& command, const Options& options) {
    const std::string what = "command " + std::string(command.words);
    const std::string usage = "usage: " + synopsis(command);
    if (options.operands.size() < command.least) return usage_error(what, "an operand is missing", usage);
    if (options.operands.size() > command.most)
        return usage_error(what, "'" + printable(options.operands[command.most]) + "' is one operand too many", usage);
    if (options.quiet && options.verbose)
        return usage_error(what, "--quiet and --verbose contradict each other", "keep one of the two");
    return {};
}

}  // namespace

std::span<const OptionRow> options() { return kOptions; }

bool is_common(const OptionRow& option) { return &option < kOptions.data() + kCommonOptions; }

bool takes(const Command& command, const OptionRow& option) {
    if (is_common(option)) return true;
    const auto names = split_words(command.options);
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
        return name == option.name || (name.ends_with('+') && name.substr(0, name.size() - 1) == option.name);
    });
}

bool may_repeat(const Command& command, const OptionRow& option) {
    const auto names = split_words(command.options);
    return option.name == "override" ||
           std::find(names.begin(), names.end(), std::string(option.name) + "+") != names.end();
}

const Command* find_command(std::span<const std::string> words) {
    const auto all = commands();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Command& command) { return begins_with(words, command.words); });
    return found == all.end() ? nullptr : &*found;
}

Result<Invocation> parse_command_line(const std::vector<std::string>& arguments) {
    std::vector<po::option> parsed;
    try {
        const po::options_description description = described();
        // No abbreviations: a script that uses one breaks when an option is added.
        const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
        parsed = po::command_line_parser(arguments).options(description).style(style).run().options;
    } catch (const po::unknown_option& e) {
        return unknown_option(e.get_option_name());
    } catch (const po::error& e) {
        return usage_error("command line", printable(e.what()), "\"roost --help\" explains");
    }

    Invocation out;
    out.options.config_path = kDefaultConfigPath;
    std::vector<const OptionRow*> given;
    std::vector<const OptionRow*> repeated;
    for (const po::option& option : parsed) {
        if (option.string_key.empty()) {
            out.options.operands.insert(out.options.operands.end(), option.value.begin(), option.value.end());
            continue;
        }
        const OptionRow* row = find_option(option.string_key);
        if (row == nullptr) return unknown_option(option.string_key);
        if (std::find(given.begin(), given.end(), row) != given.end()) repeated.push_back(row);
        given.push_back(row);
        set_option(out.options, row->name, option.value.empty() ? std::string() : option.value.front());
    }
    const auto is_given = [&](std::string_view name) {
        return std::any_of(given.begin(), given.end(), [&](const OptionRow* row) { return row->name == name; });
    };
    if (is_given("version")) {
        out.text = "roost " ROOST_VERSION "\n";
        return out;
    }
    if (is_given("help")) {
        out.text = help(out.options.operands);
        return out;
    }
    if (is_given(kHidden)) {
        out.text = dump_options() + "\n";
        return out;
    }

    out.command = find_command(out.options.operands);
    if (out.command == nullptr) return unknown_command(out.options.operands);
    const auto words = static_cast<std::ptrdiff_t>(split_words(out.command->words).size());
    out.options.operands.erase(out.options.operands.begin(), out.options.operands.begin() + words);
    for (const OptionRow* row : given)
        if (!takes(*out.command, *row))
            return usage_error("option --" + std::string(row->name),
                               "\"roost " + std::string(out.command->words) + "\" does not take it",
                               "usage: " + synopsis(*out.command));
    for (const OptionRow* row : repeated)
        if (!may_repeat(*out.command, *row))
            return usage_error("option --" + std::string(row->name), "it is given twice", "keep one of the two");
    auto checked = check_operands(*out.command, out.options);
    if (!checked) return std::move(checked).error();
    return out;
}

std::string dump_options() {
    using Json = nlohmann::ordered_json;
    const auto rows = [](const Command* command) {
        Json list = Json::array();
        for (const OptionRow& option : options()) {
            const bool listed = command == nullptr ? is_common(option) : !is_common(option) && takes(*command, option);
            if (listed)
                list.push_back({{"name", "--" + std::string(option.name)},
                                {"letter", option.letter == 0 ? std::string() : std::string({'-', option.letter})},
                                {"value", option.value},
                                {"help", option.help}});
        }
        return list;
    };
    Json out;
    out[""] = {{"operands", ""}, {"options", rows(nullptr)}};
    for (const Command& command : commands())
        out[std::string(command.words)] = {{"operands", command.synopsis}, {"options", rows(&command)}};
    return out.dump(2);
}

Error usage_error(std::string what, std::string why, std::string hint) {
    return {Outcome::malformed, std::move(what), std::move(why), std::move(hint), 0};
}

int status_of(const Error& error) {
    switch (error.outcome) {
        case Outcome::malformed:
            return kUsage;
        case Outcome::no_such_user:
            return kUnknown;
        default:
            return kFailure;
    }
}

}  // namespace roost::cli
