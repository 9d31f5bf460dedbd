// Who sends, who receives: what the MTA says beside the message.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace roost {

struct Recipient {
    std::string address;                      // as the MTA gave it; says whose mailbox it is
    std::optional<std::string> original;      // the recipient before alias expansion, if known
    std::optional<std::string> delivered_to;  // what the Delivered-To field says, if not the address
    std::optional<std::string> detail;        // given apart from the address; nullopt: look for it in the address
    std::optional<std::string> folder;        // asked for by name; wins over any detail
};

struct Envelope {
    std::optional<std::string> sender;  // "" is the null reverse-path; nullopt: not known
    std::vector<Recipient> recipients;
    std::string session;  // names this delivery in the log, in Received and in replies
};

}  // namespace roost
