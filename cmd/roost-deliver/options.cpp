#include "options.h"

#include <getopt.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "mail/address.h"
#include "store/instance.h"

namespace roost {
namespace {

struct Flag {
    char letter;
    std::string_view argument;  // empty: takes none
    std::string_view help;
};

constexpr std::array kFlags{
    Flag{'d', "USER", "deliver to this user; repeat it for several recipients"},
    Flag{'f', "SENDER", "the envelope sender; \"\" or <> for the null sender"},
    Flag{'a', "ADDRESS", "the recipient as the sender wrote it, before aliases"},
    Flag{'r', "ADDRESS", "the recipient that Delivered-To shows"},
    Flag{'m', "FOLDER", "deliver to this folder instead of INBOX; empty: INBOX"},
    Flag{'p', "FILE", "read the message from a file instead of standard input"},
    Flag{'c', "FILE", "the configuration, instead of /etc/roost/roost.conf"},
    Flag{'o', "KEY=VALUE", "a setting that overrules the configuration file"},
    Flag{'e', "", "accepted for dovecot-lda's sake: failures always show in the exit status"},
    Flag{'k', "", "accepted for dovecot-lda's sake: the environment is never changed"},
};
constexpr std::array<std::string_view, 2> kLongFlags{"--help", "--version"};

std::string flag_text(const Flag& flag) {
    std::string out = std::string("-") + flag.letter;
    if (!flag.argument.empty()) out += " " + std::string(flag.argument);
    return out;
}

Error usage_error(std::string what, std::string why) {
    return {Outcome::malformed, std::move(what), std::move(why), "see roost-deliver --help", 0};
}

// The recipient that the MTA's environment describes: Exim's pipe transport, Postfix's local(8).
std::optional<Recipient> recipient_of(Environment environment) {
    const auto value = [&](const char* name) -> std::string {
        const char* text = environment(name);
        return text == nullptr ? "" : text;
    };
    std::string local = value("LOCAL_PART");
    if (local.empty()) local = value("LOCAL");
    const std::string domain = value("DOMAIN");
    const std::string whole = value("RECIPIENT");
    Recipient recipient;
    if (!local.empty()) {
        recipient.address = domain.empty() ? local : local + "@" + domain;
    } else if (!whole.empty()) {
        recipient.address = whole;
    } else {
        return std::nullopt;
    }
    if (!whole.empty()) recipient.delivered_to = without_brackets(whole);
    std::string detail = value("EXTENSION");
    // Exim's suffix comes with its separator.
    if (detail.empty() && value("LOCAL_PART_SUFFIX").size() > 1) detail = value("LOCAL_PART_SUFFIX").substr(1);
    if (!detail.empty()) recipient.detail = detail;
    const std::string original = value("ORIGINAL_RECIPIENT");
    if (!original.empty()) recipient.original = original;
    return recipient;
}

// For what goes into a header field.
Result<void> check_shown(const std::string& what, const std::string& text) {
    if (std::none_of(text.begin(), text.end(), is_control)) return {};
    return usage_error(what + " " + excerpt(text), "it has a control character");
}

}  // namespace

Result<DeliverOptions> read_options(int argc, char** argv) {
    std::string letters = ":";
    for (const Flag& flag : kFlags) {
        letters += flag.letter;
        if (!flag.argument.empty()) letters += ':';
    }
    constexpr int kHelp = 256;
    constexpr int kVersion = 257;
    constexpr int kDump = 258;
    const std::array<option, 4> long_flags{{{"help", no_argument, nullptr, kHelp},
                                            {"version", no_argument, nullptr, kVersion},
                                            {"dump-options", no_argument, nullptr, kDump},
                                            {nullptr, 0, nullptr, 0}}};
    DeliverOptions out;
    out.config_path = kDefaultConfigPath;
    optind = 1;
    while (true) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread yet
        const int letter = ::getopt_long(argc, argv, letters.c_str(), long_flags.data(), nullptr);
        if (letter == -1) break;
        switch (letter) {
            case 'd':
                out.users.emplace_back(optarg);
                break;
            case 'f':
                out.sender = optarg;
                break;
            case 'a':
                out.original = optarg;
                break;
            case 'r':
                out.final_recipient = optarg;
                break;
            case 'm':
                out.folder = optarg;
                break;
            case 'p':
                out.file = optarg;
                break;
            case 'c':
                out.config_path = optarg;
                break;
            case 'o':
                out.overrides.emplace_back(optarg);
                break;
            case 'e':
            case 'k':
                break;
            case kHelp:
                out.show = DeliverOptions::Show::help;
                return out;
            case kVersion:
                out.show = DeliverOptions::Show::version;
                return out;
            case kDump:
                out.show = DeliverOptions::Show::options;
                return out;
            case ':':
                return usage_error(std::string("option -") + static_cast<char>(optopt), "its value is missing");
            default: {
                // For a bad long option optopt is 0 and the word is the one just passed.
                const std::string word = optopt > 0 && optopt < kHelp ? std::string("-") + static_cast<char>(optopt)
                                                                      : std::string(argv[optind - 1]);
                return usage_error("option " + printable(word), "there is no such option");
            }
        }
    }
    if (optind < argc) return usage_error("argument '" + printable(argv[optind]) + "'", "nothing takes it");
    return out;
}

std::string help_text() {
    std::string out =
        "usage: roost-deliver -d USER [-d USER ...] [-f SENDER] [-a ADDRESS] [-m FOLDER] [-p FILE]\n"
        "                     [-c FILE] [-o KEY=VALUE] [-r ADDRESS] [-e] [-k]\n\n"
        "Delivers a message from standard input to the mailboxes of users. See roost-deliver(8).\n\n";
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
    for (const std::string_view flag : kLongFlags) out += std::string(flag) + "\n";
    return out;
}

Result<Described> make_envelope(const DeliverOptions& options, Environment environment) {
    Described out;
    Envelope& envelope = out.envelope;
    for (const std::string& user : options.users) {
        Recipient recipient;
        recipient.address = user;
        envelope.recipients.push_back(std::move(recipient));
    }
    if (options.users.empty())
        if (auto recipient = recipient_of(environment)) envelope.recipients.push_back(*std::move(recipient));
    if (envelope.recipients.empty()) return usage_error("option -d", "no recipient is given, by it or the environment");
    for (Recipient& recipient : envelope.recipients) {
        recipient.address = std::string(without_brackets(recipient.address));
        if (options.original) recipient.original = options.original;
        if (recipient.address.empty()) return usage_error("option -d", "the recipient is empty");
        if (options.final_recipient && !options.final_recipient->empty())
            recipient.delivered_to = without_brackets(*options.final_recipient);
        recipient.folder = options.folder;
        if (!recipient.delivered_to) continue;
        if (auto shown = check_shown("recipient", *recipient.delivered_to); !shown) return std::move(shown).error();
    }
    std::optional<std::string> given = options.sender;
    if (!given)
        if (const char* text = environment("SENDER")) given = text;
    if (given) {
        if (auto shown = check_shown("sender", *given); !shown) return std::move(shown).error();
        auto sender = parse_sender(*given);
        if (!sender) {
            out.warning = sender.error().text() + ": no Return-Path is written";
        } else {
            // Postfix's pipe(8) and local(8) say MAILER-DAEMON for the null sender.
            envelope.sender = *sender == "MAILER-DAEMON" ? "" : *std::move(sender);
        }
    }
    return out;
}

}  // namespace roost
