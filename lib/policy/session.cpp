#include "policy/session.h"

#include "base/text.h"

#include <charconv>
#include <utility>

namespace roost::policy {
namespace {

constexpr std::size_t kMaxText = 200;
constexpr std::size_t kMaxInstance = 256;

// What may stand in an SMTP reply to a client that need not know UTF-8 (RFC 6531 section 3.7.4.1).
std::string presentable(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, kMaxText)) {
        if (static_cast<unsigned char>(c) >= 0x80)
            out += '?';
        else
            out += is_control(c) ? ' ' : c;
    }
    return out;
}

}  // namespace

std::string action_of(const Answer& answer, bool at_rcpt) {
    constexpr int kRefused = 554;
    const OutcomeRow& row = row_of(answer.outcome);
    int code = row.reply_code;
    switch (answer.outcome) {
        case Outcome::delivered:
            return "DUNNO";
        case Outcome::no_such_user:
        case Outcome::user_disabled:
        case Outcome::over_quota_deferred:
            break;
        case Outcome::over_quota:
            code = kRefused;
            break;
        case Outcome::message_too_large:
            if (at_rcpt) code = kRefused;
            break;
        default:
            return "DEFER_IF_PERMIT 4.3.0 The mailbox cannot be looked at now";
    }
    return std::to_string(code) + " " + std::string(row.enhanced) + " " + presentable(answer.text);
}

std::size_t Session::feed(std::string_view in, std::string& out) {
    std::size_t taken = 0;
    while (fault_.empty() && taken < in.size()) {
        const std::string_view piece = in.substr(taken, in.find('\n', taken) - taken);
        const bool whole = taken + piece.size() < in.size();
        taken += piece.size() + (whole ? 1 : 0);
        received_ += piece.size() + (whole ? 1 : 0);
        line_ += piece;
        if (line_.size() > kMaxLine) {
            fault_ = "a line has more than " + std::to_string(kMaxLine) + " octets";
        } else if (received_ > kMaxRequest) {
            fault_ = "a request has more than " + std::to_string(kMaxRequest) + " octets";
        } else if (whole && !line_.empty()) {
            take_attribute(line_);
            line_.clear();
        } else if (whole) {
            if (request_.kind != "smtpd_access_policy") {
                fault_ = "it is no request=smtpd_access_policy";
                break;
            }
            const Answer answer = decide();
            if (answer.outcome != Outcome::delivered) host_.refused(request_, answer);
            out += "action=" + action_of(answer, request_.state == "RCPT") + "\n\n";
            request_ = {};
            received_ = 0;
            break;
        }
    }
    return taken;
}

void Session::take_attribute(std::string_view line) {
    const std::size_t at = line.find('=');
    if (at == std::string_view::npos || at == 0) {
        fault_ = "a line is no attribute: " + printable(line.substr(0, kMaxText));
        return;
    }
    const std::string_view name = line.substr(0, at);
    const std::string_view value = line.substr(at + 1);
    if (name == "request") {
        request_.kind = value;
    } else if (name == "protocol_state") {
        request_.state = value;
    } else if (name == "instance") {
        request_.instance = value.substr(0, kMaxInstance);
    } else if (name == "recipient") {
        request_.recipient = value;
    } else if (name == "sender") {
        request_.sender = value;
    } else if (name == "queue_id") {
        request_.queue_id = value;
    } else if (name == "client_address") {
        request_.client_address = value;
    } else if (name == "size") {
        request_.size = number(name, value);
    } else if (name == "recipient_count") {
        request_.recipient_count = number(name, value);
    }
}

std::uint64_t Session::number(std::string_view name, std::string_view value) {
    std::uint64_t out = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (code == std::errc() && end == value.data() + value.size()) return out;
    fault_ = std::string(name) + " is no number: " + printable(value.substr(0, kMaxText));
    return 0;
}

Answer Session::decide() {
    // The next message on the same connection shows that the earlier one is through or given up.
    std::string message = request_.instance.empty() ? std::string() : client_ + " " + request_.instance;
    if (message != message_) {
        if (!message_.empty()) recipients_.forget(message_);
        message_ = std::move(message);
    }
    if (request_.state == "RCPT") {
        Answer answer = host_.judge(request_.recipient, request_.size);
        if (answer.outcome == Outcome::delivered && !message_.empty()) recipients_.add(message_, request_.recipient);
        return answer;
    }
    if (request_.state == "END-OF-MESSAGE") {
        if (!request_.recipient.empty()) return host_.judge(request_.recipient, request_.size);
        return decide_for_all();
    }
    return {Outcome::delivered, {}};
}

// A refusal here is one for all recipients. So all must refuse, and all must be known: whoever was remembered and then
// refused by somebody else does no harm, since all of more is all of these.
Answer Session::decide_for_all() {
    const std::vector<std::string> all = recipients_.of(message_);
    Answer nothing{Outcome::delivered, {}};
    if (all.empty() || request_.recipient_count == 0 || all.size() < request_.recipient_count) return nothing;
    // The mildest of the refusals: trouble, then what is over for a while, then for good.
    const auto mildness = [](const Answer& answer) {
        if (!is_temporary(answer.outcome)) return 0;
        return answer.outcome == Outcome::over_quota_deferred ? 1 : 2;
    };
    Answer mildest;
    for (std::size_t i = 0; i < all.size(); ++i) {
        Answer answer = host_.judge(all[i], request_.size);
        if (answer.outcome == Outcome::delivered) return nothing;
        if (i == 0 || mildness(answer) > mildness(mildest)) mildest = std::move(answer);
    }
    return mildest;
}

}  // namespace roost::policy
