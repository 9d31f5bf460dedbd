#include "options.h"

#include <getopt.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "store/instance.h"

namespace roost {
namespace {

constexpr int kLongOnly = 256;  // of options without a letter, the first
constexpr int kStdio = kLongOnly;
constexpr int kHelp = kLongOnly + 1;
constexpr int kVersion = kLongOnly + 2;
constexpr int kDump = kLongOnly + 3;

struct Flag {
    int code;          // its letter, or one of the above
    const char* name;  // empty: it has a letter
    std::string_view argument;
    std::string_view help;
};

constexpr std::array kFlags{
    Flag{'c', "", "FILE", "the configuration, instead of /etc/roost/roost.conf"},
    Flag{'o', "", "KEY=VALUE", "a setting that overrules the configuration file"},
    Flag{kStdio, "stdio", "", "serve one LMTP session on standard input and output"},
    Flag{kHelp, "help", "", "print this"},
    Flag{kVersion, "version", "", "print the version"},
};

std::string flag_text(const Flag& flag) {
    std::string out =
        flag.code < kLongOnly ? std::string("-") + static_cast<char>(flag.code) : std::string("--") + flag.name;
    if (!flag.argument.empty()) out += " " + std::string(flag.argument);
    return out;
}

Error usage_error(std::string what, std::string why) {
    return {Outcome::malformed, std::move(what), std::move(why), "see roostd --help", 0};
}

}  // namespace

Result<DaemonOptions> read_options(int argc, char** argv) {
    DaemonOptions out;
    out.config_path = kDefaultConfigPath;
    std::string letters = ":";
    std::vector<option> names;
    for (const Flag& flag : kFlags) {
        if (flag.code >= kLongOnly) {
            names.push_back({flag.name, no_argument, nullptr, flag.code});
        } else {
            letters += static_cast<char>(flag.code);
            letters += ':';
        }
    }
    names.push_back({"dump-options", no_argument, nullptr, kDump});
    names.push_back({nullptr, 0, nullptr, 0});
    optind = 1;
    while (true) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread yet
        const int code = ::getopt_long(argc, argv, letters.c_str(), names.data(), nullptr);
        if (code == -1) break;
        switch (code) {
            case 'c':
                out.config_path = optarg;
                break;
            case 'o':
                out.overrides.emplace_back(optarg);
                break;
            case kStdio:
                out.stdio = true;
                break;
            case kHelp:
                out.show = DaemonOptions::Show::help;
                return out;
            case kVersion:
                out.show = DaemonOptions::Show::version;
                return out;
            case kDump:
                out.show = DaemonOptions::Show::options;
                return out;
            case ':':
                return usage_error(std::string("option -") + static_cast<char>(optopt), "its value is missing");
            default: {
                // For a bad long option optopt is 0 and the word is the one just passed.
                const std::string word = optopt > 0 && optopt < kLongOnly ? std::string("-") + static_cast<char>(optopt)
                                                                          : std::string(argv[optind - 1]);
                return usage_error("option " + printable(word), "there is no such option");
            }
        }
    }
    if (optind < argc) return usage_error("argument '" + printable(argv[optind]) + "'", "nothing takes it");
    return out;
}

bool names_stdio(std::span<char* const> arguments) {
    return std::any_of(arguments.begin(), arguments.end(),
                       [](std::string_view argument) { return argument == "--stdio"; });
}

std::string help_text() {
    std::string out =
        "usage: roostd [-c FILE] [-o KEY=VALUE ...] [--stdio]\n\n"
        "Takes mail by LMTP and delivers it to mailboxes, in the foreground. See roostd(8).\n\n";
    constexpr std::size_t kColumn = 16;
    for (const Flag& flag : kFlags) {
        std::string line = "  " + flag_text(flag);
        line.resize(std::max(line.size() + 1, kColumn), ' ');
        out += line + std::string(flag.help) + "\n";
    }
    return out;
}

std::string option_list() {
    std::string out;
    for (const Flag& flag : kFlags) out += flag_text(flag) + "\n";
    return out;
}

}  // namespace roost
