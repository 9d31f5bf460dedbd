// The line that the log has of each delivery.
#pragma once

#include "mail/envelope.h"
#include "mail/message.h"
#include "store/mail_store.h"

#include <string>

namespace roost {

// What a program knows of a delivery beside the verdict.
struct DeliveryContext {
    std::string code;  // what the MTA is told
    std::string peer;  // who brought it; empty: a parent process
    // What the peer told of where it has the message from; empty: nothing.
    std::string client;  // NAME[ADDRESS]
    std::string helo;
    std::string queue_id;  // in the MTA
};

// Logs one recipient's verdict: what was delivered as information, what was not as a warning. `message`: null if it was
// refused before the message came.
void log_verdict(const Envelope& envelope, const Recipient& recipient, const Message* message, const Verdict& verdict,
                 const DeliveryContext& context);

}  // namespace roost
