#include "store/verdict_log.h"

#include "base/log.h"

namespace roost {

void log_verdict(const Envelope& envelope, const Recipient& recipient, const Message* message, const Verdict& verdict,
                 const DeliveryContext& context) {
    std::string line;
    const auto begin = [&](std::string_view name) {
        if (!line.empty()) line += ' ';
        line += name;
        line += '=';
    };
    // A blank ends a value, so that none that a peer chose looks like two.
    const auto add = [&](std::string_view name, std::string_view value) {
        begin(name);
        for (const char c : value)
            if (c == ' ')
                line += "\\x20";
            else
                line += c;
    };
    const auto add_text = [&](std::string_view name, std::string_view text) {
        begin(name);
        line += text;
    };
    const auto add_time = [&](std::string_view name, std::chrono::microseconds time) {
        add(name, std::to_string(time.count()) + "us");
    };
    add("session", envelope.session);
    if (!context.peer.empty()) add("peer", context.peer);
    if (!context.client.empty()) add("client", context.client);
    if (!context.helo.empty()) add("helo", context.helo);
    if (!context.queue_id.empty()) add("queue-id", context.queue_id);
    add("from", "<" + envelope.sender.value_or("") + ">");
    add("to", "<" + recipient.address + ">");
    if (recipient.original) add("orig-to", "<" + *recipient.original + ">");
    add("user", verdict.user);
    if (message != nullptr) {
        add("msgid", message->trace().message_id);
        add("size", std::to_string(message->size()));
    }
    add("verdict", row_of(verdict.outcome).name);
    add_text("code", context.code);
    add_time("lookup", verdict.spent.lookup);
    add_time("store", verdict.spent.store);
    add_time("sync", verdict.spent.sync);
    if (verdict.outcome != Outcome::delivered) {
        add_text("why", verdict.text);
        return log(LogLevel::warning, line);
    }
    if (verdict.receipt.path.empty()) {
        add_text("stored", verdict.text);  // an earlier copy of the same message
    } else {
        add("folder", folder_name(verdict.receipt.folder));
        add("file", verdict.receipt.path);
        if (verdict.created) add("mailbox", "new");
    }
    log(LogLevel::info, line);
}

}  // namespace roost
