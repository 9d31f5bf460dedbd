// The commands of a session, in the order that RFC 2033 and RFC 5321 allow.
#include "base/text.h"
#include "lmtp/machine.h"
#include "lmtp/origin.h"
#include "mail/address.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace roost::lmtp {
namespace {

const Reply kNoTransaction{503, "5.5.1", "MAIL must come first"};
const Reply kInTransaction{503, "5.5.1", "Not within a transaction"};

// RFC 3207 section 4. The octets behind BDAT are still to be swallowed, and the last ones are no commands of ours.
bool goes_without_tls(Verb verb) {
    switch (verb) {
        case Verb::lhlo:
        case Verb::noop:
        case Verb::starttls:
        case Verb::quit:
        case Verb::bdat:
        case Verb::helo_or_ehlo:
        case Verb::of_the_web:
        case Verb::unknown:
            return true;
        default:
            return false;
    }
}

}  // namespace

// A reply to a command that no sound client sends; too many of them end the session.
void Session::Machine::refuse(const Reply& reply) {
    if (++errors_ < terms_.max_errors)
        say(reply);
    else
        close({421, "4.7.0", "Too many errors"});
}

void Session::Machine::close(const Reply& reply) {
    say(reply);
    end_transaction();
    state_ = State::closed;
}

void Session::Machine::renew_terms() {
    auto terms = host_.new_terms();
    if (!terms) return;
    terms->session = std::move(terms_.session);
    terms_ = *std::move(terms);
}

void Session::Machine::run(std::string_view line) {
    if (!transaction_) renew_terms();
    if (line_is_fresh_) confirmed_ = true;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (std::any_of(line.begin(), line.end(), is_control))
        refuse({500, "5.5.2", "A command has no control characters"});
    else
        run(parse_command(line));
}

void Session::Machine::run(const Command& command) {
    const std::string_view arguments = command.arguments;
    if (lacks_tls() && !goes_without_tls(command.verb)) return refuse(kNoTls);
    switch (command.verb) {
        case Verb::rset:
        case Verb::data:
        case Verb::quit:
        case Verb::starttls:
            // RFC 5321 section 4.1.1: such commands should be rejected with arguments.
            if (!arguments.empty()) return refuse({501, "5.5.4", "This command has no arguments"});
            break;
        default:
            break;
    }
    switch (command.verb) {
        case Verb::lhlo:
            return lhlo(arguments);
        case Verb::mail:
            return mail(arguments);
        case Verb::rcpt:
            return rcpt(arguments);
        case Verb::data:
            return data();
        case Verb::bdat:
            return bdat(arguments);
        case Verb::rset:
            end_transaction();
            return say(kDone);
        case Verb::noop:
            return say(kDone);
        case Verb::vrfy:
            if (arguments.empty()) return refuse({501, "5.5.4", "VRFY what?"});
            return say({252, "2.0.0", "Ask with RCPT"});  // RFC 5321 section 3.5.3
        case Verb::help:
            return say({214, "2.0.0", "This is LMTP, RFC 2033: LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT"});
        case Verb::quit:
            return close({221, "2.0.0", "Bye"});
        case Verb::starttls:
            return start_tls();
        case Verb::xclient:
            return xclient(arguments);
        case Verb::xforward:
            return xforward(arguments);
        case Verb::expn:
            return refuse({502, "5.5.1", "There are no lists here"});
        // RFC 2033 section 4.1: no positive reply, and 500 it should be.
        case Verb::helo_or_ehlo:
            return refuse({500, "5.5.1", "This is LMTP: say LHLO"});
        // A page in somebody's browser can make it connect here and send commands as the body of its request.
        case Verb::of_the_web:
            return close({421, "4.7.0", "This is no web server"});
        case Verb::unknown:
            return refuse({500, "5.5.2", "The command is not known"});
    }
}

void Session::Machine::lhlo(std::string_view name) {
    constexpr std::size_t kLongestName = 255;
    if (name.empty() || name.size() > kLongestName || name.find(' ') != std::string_view::npos || has_8bit(name))
        return refuse({501, "5.5.4", "LHLO needs the client's name"});
    end_transaction();
    greeted_ = true;
    peer_name_ = name;
    Capabilities capabilities;
    if (terms_.max_message != 0) capabilities.size = std::to_string(terms_.max_message);
    capabilities.starttls = terms_.offer_starttls && !secured_;
    capabilities.forwarding = terms_.trusted;
    capabilities.dsn = terms_.trusted && terms_.offer_dsn;
    *out_ += render_capabilities(terms_.host, capabilities);
}

void Session::Machine::mail(std::string_view arguments) {
    if (!greeted_) return refuse({503, "5.5.1", "LHLO must come first"});
    if (transaction_) return refuse(kInTransaction);
    mail_refused_ = true;
    const auto line = parse_path_line(arguments, "FROM:");
    if (const auto* refused = std::get_if<Reply>(&line)) return refuse(*refused);
    const auto& [path, words] = std::get<PathLine>(line);
    const auto parsed = parse_mail_parameters(words, terms_.trusted);
    if (const auto* refused = std::get_if<Reply>(&parsed)) return refuse(*refused);
    const auto parameters = std::get<MailParameters>(parsed);
    // RFC 6531 section 3.5. What an MTA relays may well be so: no error that ends the session.
    if (has_8bit(path) && !parameters.utf8)
        return say({553, "5.6.7", "The address is not ASCII: SMTPUTF8 must be asked for"});
    auto sender = parse_sender(path);
    if (!sender) return say({501, "5.1.7", sender.error().text()});
    if (!is_utf8(path)) return say({501, "5.1.7", "The sender is not UTF-8"});
    // The rest is the sender's business: some that exist are odd.
    if (path.starts_with('@') || path.ends_with('@'))
        return say({501, "5.1.7", "The sender lacks what stands before or behind the @"});
    if (parameters.size == UINT64_MAX || (terms_.max_message != 0 && parameters.size > terms_.max_message))
        return say({552, "5.3.4", "The message is too large"});  // RFC 1870 section 6.1
    mail_refused_ = false;
    transaction_.emplace();
    transaction_->envelope.sender = *std::move(sender);
    transaction_->envelope.session = terms_.session + "." + std::to_string(++transactions_);
    transaction_->size = parameters.size;
    transaction_->utf8 = parameters.utf8;
    say({250, "2.1.0", "OK"});
}

// Out of order, unless it is a pipelining client whose MAIL was refused (RFC 2920 section 3.1).
void Session::Machine::refuse_without_mail() {
    if (mail_refused_)
        say(kNoTransaction);
    else
        refuse(kNoTransaction);
}

void Session::Machine::rcpt(std::string_view arguments) {
    if (!transaction_) return refuse_without_mail();
    Transaction& now = *transaction_;
    if (now.chunked) return refuse({503, "5.5.1", "Not behind BDAT"});
    const auto line = parse_path_line(arguments, "TO:");
    if (const auto* refused = std::get_if<Reply>(&line)) return refuse(*refused);
    const auto& [path, words] = std::get<PathLine>(line);
    auto parsed = parse_rcpt_parameters(words, terms_.trusted);
    if (const auto* refused = std::get_if<Reply>(&parsed)) return refuse(*refused);
    if (has_8bit(path) && !now.utf8) return say({553, "5.6.7", "The address is not ASCII: SMTPUTF8 must be asked for"});
    if (const auto address = parse_address(path); !address) return say({501, "5.1.3", address.error().text()});
    if (!is_utf8(path)) return say({501, "5.1.3", "The address is not UTF-8"});
    // RFC 5321 section 4.5.3.1.10.
    if (now.envelope.recipients.size() >= terms_.max_recipients) return say({452, "4.5.3", "Too many recipients"});
    Recipient recipient;
    recipient.address = path;
    recipient.original = std::get<RcptParameters>(std::move(parsed)).original;
    const Answer answer = host_.recipient(recipient, now.size);
    const bool accepted = answer.outcome == Outcome::delivered;
    if (accepted) now.envelope.recipients.push_back(std::move(recipient));
    say(reply_of(answer, "2.1.5", accepted && answer.text.empty() ? "OK" : answer.text));
}

void Session::Machine::data() {
    if (!transaction_) return refuse_without_mail();
    if (transaction_->chunked) return refuse({503, "5.5.1", "Not behind BDAT"});  // RFC 3030 section 2
    // RFC 2033 section 4.2. All recipients may have been refused for good reasons: no error that ends the session.
    if (transaction_->envelope.recipients.empty()) return say(kNoRecipients);
    transaction_->decoder.emplace(DataDecoder::Framing::dotted);
    mode_ = Mode::data;
    say({354, "", "Send the message; a dot on a line of its own ends it"});
}

void Session::Machine::bdat(std::string_view arguments) {
    const auto chunk = parse_chunk(arguments);
    if (!chunk) {
        // What follows may be a message; it must not be taken for commands.
        say({501, "5.5.4", "BDAT needs a number of octets, then LAST or nothing"});
        return close({421, "4.7.0", "It cannot be known where the next command begins"});
    }
    if (transaction_) {
        Transaction& now = *transaction_;
        now.chunked = true;
        if (!now.envelope.recipients.empty() && !now.decoder) now.decoder.emplace(DataDecoder::Framing::counted);
    }
    chunk_left_ = chunk->octets;
    chunk_last_ = chunk->last;
    mode_ = Mode::chunk;
    if (chunk_left_ == 0) end_chunk();
}

void Session::Machine::end_transaction() {
    mail_refused_ = false;
    forwarded_ = {};
    origin_ = client_;
    if (!transaction_) return;
    transaction_.reset();
    host_.reset();
}

void Session::Machine::start_tls() {
    if (secured_) return refuse({503, "5.5.1", "TLS is in use already"});
    if (!terms_.offer_starttls) return refuse({502, "5.5.1", "TLS is not offered here"});
    if (transaction_) return refuse(kInTransaction);
    say({220, "2.0.0", "Begin with TLS"});
    state_ = State::start_tls;
}

void Session::Machine::secured() {
    // RFC 3207 section 4.2: forget all that was said in the clear.
    end_transaction();
    client_ = {};
    origin_ = {};
    peer_name_.clear();
    line_.clear();
    unanswered_ = 0;
    greeted_ = false;
    secured_ = true;
    state_ = State::open;
}

void Session::Machine::xclient(std::string_view arguments) {
    if (!terms_.trusted) return refuse({550, "5.7.14", "XCLIENT is not for you"});
    if (transaction_) return refuse(kInTransaction);
    if (const auto refused = take_xclient(arguments, client_)) return refuse(*refused);
    // As at the beginning of a session, the reply included.
    end_transaction();
    peer_name_.clear();
    greeted_ = false;
    *out_ += render_greeting(terms_.host);
}

void Session::Machine::xforward(std::string_view arguments) {
    if (!terms_.trusted) return refuse({550, "5.7.14", "XFORWARD is not for you"});
    if (transaction_) return refuse(kInTransaction);
    if (const auto refused = take_xforward(arguments, forwarded_)) return refuse(*refused);
    origin_ = client_;
    for (const auto field : {&Origin::name, &Origin::address, &Origin::helo, &Origin::queue_id})
        if (!(forwarded_.*field).empty()) origin_.*field = forwarded_.*field;
    say(kDone);
}

}  // namespace roost::lmtp
