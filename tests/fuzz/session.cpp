// The LMTP session. Input: a byte of options, a line of piece lengths (a letter each), the conversation. However the
// conversation is cut into pieces, what comes of it is the same.
#include "lmtp/session.h"

#include "base/text.h"
#include "check.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace roost;
using namespace roost::lmtp;

namespace {

bool is_clean(std::string_view text) { return std::none_of(text.begin(), text.end(), is_control) && is_utf8(text); }

struct Delivery {
    Envelope envelope;
    std::string bytes;
    bool operator==(const Delivery& other) const {
        const auto addresses = [](const Envelope& envelope) {
            std::vector<std::string> out;
            for (const Recipient& one : envelope.recipients)
                out.push_back(one.address + "|" + one.original.value_or(""));
            return out;
        };
        return bytes == other.bytes && envelope.sender == other.envelope.sender &&
               envelope.session == other.envelope.session && addresses(envelope) == addresses(other.envelope);
    }
};

class CheckingHost : public Host {
public:
    // `terms`: those of the session; each time that new ones are asked for, the limit comes or goes, if `renews`.
    CheckingHost(std::uint64_t room, Terms terms, bool renews)
        : room_(room), terms_(std::move(terms)), renews_(renews) {}
    Session* session = nullptr;
    std::string* out = nullptr;
    std::vector<Delivery> delivered;
    std::size_t answered_at = 0;  // where in `out` the verdicts begin
    std::size_t verdicts = 0;

    Answer recipient(const Recipient& recipient, std::uint64_t) override {
        check(is_clean(recipient.address) && !recipient.address.empty(), "a recipient is clean");
        check(is_clean(recipient.original.value_or("")), "an original recipient is clean");
        if (recipient.address.front() == 'u') return {Outcome::no_such_user, recipient.address, 0, {}};
        accepted_.push_back(recipient.address);
        return {Outcome::delivered, {}, 0, {}};
    }
    Result<void> data(std::string_view bytes) override {
        check(!bytes.empty() && !failed_ && !accepted_.empty(), "data come in a transaction that has not failed");
        if (bytes_.size() + bytes.size() > room_) {
            failed_ = true;
            return Error{Outcome::store_full, "no room", "", "", 0};
        }
        bytes_ += bytes;
        return {};
    }
    std::vector<Answer> deliver(const Envelope& envelope) override {
        check(!failed_ && !told_, "what failed is not delivered");
        std::vector<std::string> recipients;
        for (const Recipient& one : envelope.recipients) recipients.push_back(one.address);
        check(!recipients.empty() && recipients == accepted_, "the envelope has the accepted recipients in order");
        check(is_clean(envelope.sender.value()), "a sender is clean");
        const Origin& origin = session->origin();
        for (const std::string& text : {origin.name, origin.address, origin.helo, origin.queue_id})
            check(is_clean(text), "an origin is clean");
        check(session->envelope() == &envelope, "the transaction at hand is the one that is delivered");
        delivered.push_back({envelope, bytes_});
        answered_at = out->size();
        verdicts = recipients.size();
        return std::vector<Answer>(recipients.size(), Answer{Outcome::delivered, std::string(300, 'x'), 0, {}});
    }
    void failed(const Envelope& envelope, const Answer& answer) override {
        check(!told_ && answer.outcome != Outcome::delivered, "a failure is told once");
        check(envelope.recipients.size() == accepted_.size(), "the envelope has the accepted recipients");
        told_ = true;
    }
    void reset() override {
        told_ = false;
        bytes_.clear();
        accepted_.clear();
        failed_ = false;
    }
    std::optional<Terms> new_terms() override {
        check(accepted_.empty(), "a transaction keeps its terms");
        if (!renews_) return std::nullopt;
        terms_.max_message = terms_.max_message == 0 ? 50 : 0;
        return terms_;
    }

private:
    std::uint64_t room_;
    Terms terms_;
    bool renews_;
    std::string bytes_;
    std::vector<std::string> accepted_;
    bool failed_ = false;
    bool told_ = false;
};

// How many replies there are, each well-formed and short enough.
std::size_t count_replies(std::string_view out) {
    std::size_t length = 0;
    std::size_t replies = 0;
    while (!out.empty()) {
        const std::size_t end = out.find("\r\n");
        check(end != std::string_view::npos && end > 3, "a reply is a line");
        const std::string_view line = out.substr(0, end);
        check(is_clean(line) && (line[3] == ' ' || line[3] == '-'), "a reply is text");
        length += end + 2;
        check(length <= kMaxReply, "a reply fits");
        if (line[3] == ' ') {
            ++replies;
            length = 0;
        }
        out.remove_prefix(end + 2);
    }
    return replies;
}

struct Ending {
    std::string out;
    std::vector<Delivery> delivered;
    Session::State state = Session::State::open;
};

Ending converse(const Terms& terms, std::uint64_t room, bool renews, std::string_view in, std::string_view lengths) {
    Ending got;
    CheckingHost host(room, terms, renews);
    Session session(terms, host);
    host.session = &session;
    for (std::size_t turn = 0; !in.empty() && session.state() == Session::State::open; ++turn) {
        const std::size_t length =
            lengths.empty() ? in.size() : 1 + static_cast<unsigned char>(lengths[turn % lengths.size()]) % 64;
        std::string out;
        host.out = &out;
        host.verdicts = 0;
        const std::size_t taken = session.feed(in.substr(0, length), out);
        check(taken > 0 && taken <= length, "feed takes something");
        check(out.size() < 8192, "feed returns when there is much to say");
        const std::string_view verdicts =
            std::string_view(out).substr(host.verdicts == 0 ? out.size() : host.answered_at);
        check(count_replies(verdicts) == host.verdicts, "one verdict for each recipient, and then a pause");
        check(host.verdicts == 0 || !session.verdicts_confirmed(), "verdicts are not confirmed at once");
        got.out += out;
        in.remove_prefix(taken);
    }
    count_replies(got.out);
    got.delivered = std::move(host.delivered);
    got.state = session.state();
    return got;
}

// How often `word` occurs, in any case, overlapping.
std::size_t count(std::string_view text, std::string_view word) {
    const std::string low = lower(text);
    std::size_t found = 0;
    for (std::size_t at = low.find(word); at != std::string::npos; at = low.find(word, at + 1)) ++found;
    return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned options = data[0];
    std::string_view rest = text_of(data + 1, size - 1);
    const std::string_view lengths = take_until(rest, '\n');
    Terms terms;
    terms.host = "mx.example.org";
    terms.session = "s";
    terms.trusted = (options & 1U) != 0;
    terms.offer_starttls = (options & 2U) != 0;
    terms.offer_dsn = (options & 4U) != 0;
    terms.max_message = (options & 8U) != 0 ? 50 : 0;
    terms.max_recipients = 8;
    const std::uint64_t room = (options & 16U) != 0 ? 0 : UINT64_MAX;
    terms.require_tls = (options & 64U) != 0;
    const bool renews = (options & 32U) != 0;

    const Ending whole = converse(terms, room, renews, rest, {});
    const Ending cut = converse(terms, room, renews, rest, lengths.empty() ? std::string_view("\x40") : lengths);
    check(whole.out == cut.out, "the replies do not depend on the pieces");
    check(whole.delivered == cut.delivered, "what is delivered does not depend on the pieces");
    check(whole.state == cut.state, "the end does not depend on the pieces");
    check(whole.delivered.size() <= count(rest, "\n.\r\n") + count(rest, "last"), "each message has an end of its own");
    return 0;
}
