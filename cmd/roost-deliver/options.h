// The command line of roost-deliver and the envelope that it, or the MTA's environment, describes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mail/envelope.h"

namespace roost {

struct DeliverOptions {
    std::string config_path;
    std::vector<std::string> overrides;          // -o key=value
    std::optional<std::string> file;             // -p FILE instead of standard input
    std::optional<std::string> sender;           // -f, as given
    std::optional<std::string> original;         // -a
    std::optional<std::string> final_recipient;  // -r
    std::optional<std::string> folder;           // -m
    std::vector<std::string> users;              // -d
    enum class Show { nothing, help, version, options } show = Show::nothing;
};

// Reads the command line with getopt(3), as dovecot-lda does: it alone takes values that begin with "-" as they are,
// and such a value may come from the network. Errors (malformed) name the flag.
Result<DeliverOptions> read_options(int argc, char** argv);

// The text of --help.
std::string help_text();
// One option per line, as "-d USER", for the test that holds the manual against the program.
std::string option_list();

// Looks up a variable of the environment; null if it is not set.
using Environment = const char* (*)(const char* name);

struct Described {
    Envelope envelope;
    std::string warning;  // what could not be used; empty if all could
};
// The envelope: from the flags, and where a flag is absent from the MTA's environment: RECIPIENT, LOCAL_PART or LOCAL,
// DOMAIN, EXTENSION or LOCAL_PART_SUFFIX, ORIGINAL_RECIPIENT, SENDER. The sender stays unset if neither tells, or if it
// is none that a Return-Path field can show: an odd one is no reason to hold mail back. The message's "From " line may
// tell it then. Errors (malformed): no recipient, control characters in what the MTA says.
Result<Described> make_envelope(const DeliverOptions& options, Environment environment);

}  // namespace roost
