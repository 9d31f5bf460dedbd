// Talks to an LMTP session in memory, each time in many ways of cutting the input into pieces: none may make a
// difference.
#pragma once

#include "base/text.h"
#include "catch.h"
#include "lmtp/session.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace roost::lmtp {

// A host that keeps what it is told, and whose users' names say what becomes of their mail.
class FakeHost : public Host {
public:
    struct Delivery {
        Envelope envelope;
        std::string bytes;
        Origin origin;
    };
    std::vector<std::pair<Recipient, std::uint64_t>> asked;
    std::vector<Delivery> delivered;
    std::vector<std::pair<std::size_t, Answer>> failures;  // how many recipients were told, and what
    std::size_t resets = 0;
    std::uint64_t room = UINT64_MAX;  // data() fails beyond it
    std::size_t missing_answers = 0;  // deliver() gives fewer than it should
    std::string text;                 // of each success
    std::size_t largest_piece = 0;
    std::size_t behind = 0;  // bytes that waiting() tells of
    std::size_t waiting() const override { return behind; }
    std::optional<Terms> coming;  // the terms from when a "reload" is named as recipient
    Session* session = nullptr;

    Answer recipient(const Recipient& recipient, std::uint64_t size) override {
        asked.emplace_back(recipient, size);
        const std::string& name = recipient.address;
        if (name.starts_with("reload")) news_ = coming;
        if (name.starts_with("unknown")) return {Outcome::no_such_user, "No such user", 0, {}};
        if (name.starts_with("full")) return {Outcome::over_quota, "The mailbox is full", 0, {}};
        if (name.starts_with("busy")) return {Outcome::trouble, "Too many at once", 451, "4.7.1"};
        if (name.starts_with("odd")) return {Outcome::trouble, "Codes at odds", 550, {}};
        return {Outcome::delivered, {}, 0, {}};
    }
    Result<void> data(std::string_view bytes) override {
        if (bytes.empty()) FAIL("data() without data");
        largest_piece = std::max(largest_piece, bytes.size());
        if (failed_) FAIL("data() after it failed");
        failed_ = bytes_.size() + bytes.size() > room;
        if (failed_) return Error{Outcome::store_full, "cannot spool", "disk full", {}, 0};
        bytes_ += bytes;
        return {};
    }
    std::vector<Answer> deliver(const Envelope& envelope) override {
        delivered.push_back({envelope, bytes_, session->origin()});
        std::vector<Answer> out;
        for (const Recipient& recipient : envelope.recipients) {
            if (recipient.address.starts_with("late"))
                out.push_back({Outcome::over_quota, "Full by now", 0, {}});
            else
                out.push_back({Outcome::delivered, text, 0, {}});
        }
        out.resize(out.size() - missing_answers);
        return out;
    }
    void failed(const Envelope& envelope, const Answer& answer) override {
        failures.emplace_back(envelope.recipients.size(), answer);
    }
    void reset() override {
        ++resets;
        bytes_.clear();
        failed_ = false;
    }
    std::optional<Terms> new_terms() override { return std::exchange(news_, std::nullopt); }

private:
    std::optional<Terms> news_;
    std::string bytes_;
    bool failed_ = false;
};

// What came of a conversation.
struct Talk {
    std::string out;
    FakeHost host;
    Session::State state = Session::State::open;
    bool idle = false;
    std::string left;  // input that was not taken

    // The code and enhanced code of each reply, as "250 2.1.0"; of a reply of several lines, its last one.
    std::vector<std::string> codes() const {
        std::vector<std::string> found;
        for (std::string_view rest = out; !rest.empty();) {
            const std::string_view line = rest.substr(0, rest.find("\r\n"));
            rest.remove_prefix(line.size() + 2);
            if (line[3] == '-') continue;
            const bool enhanced = line.size() > 8 && line[5] == '.' && line[7] == '.';
            found.emplace_back(line.substr(0, enhanced ? line.find(' ', 4) : 3));
        }
        return found;
    }
    // Those of the last `count` replies.
    std::vector<std::string> last(std::size_t count) const {
        auto all = codes();
        REQUIRE(all.size() >= count);
        return {all.end() - static_cast<std::ptrdiff_t>(count), all.end()};
    }
};

// A reply is well-formed and fits every client's buffer; a character is never cut in two.
inline void check_replies(std::string_view out) {
    std::size_t reply = 0;
    while (!out.empty()) {
        const std::size_t end = out.find("\r\n");
        REQUIRE(end != std::string_view::npos);
        const std::string_view line = out.substr(0, end);
        REQUIRE(line.size() > 4);
        REQUIRE(line.substr(0, 3).find_first_not_of("0123456789") == std::string_view::npos);
        REQUIRE((line[3] == ' ' || line[3] == '-'));
        REQUIRE(std::none_of(line.begin(), line.end(), is_control));
        reply += end + 2;
        REQUIRE(reply < 240);
        if (line[3] == ' ') reply = 0;
        out.remove_prefix(end + 2);
    }
}

struct Setup {
    Terms terms = plain_terms();
    std::function<void(FakeHost&)> host = [](FakeHost&) {};

    static Terms plain_terms() {
        Terms terms;
        terms.host = "mx.example.org";
        terms.session = "S";
        return terms;
    }
    static Setup trusted() {
        Setup out;
        out.terms.trusted = true;
        return out;
    }
};

// One conversation, its input cut by `next`, which says how long the next piece is. The caller of a session hands it
// what it did not take again, so that is done here, too.
inline Talk talk_once(const Setup& setup, std::string_view in, const std::function<std::size_t()>& next) {
    Talk talk;
    setup.host(talk.host);
    Session session(setup.terms, talk.host);
    talk.host.session = &session;
    while (!in.empty() && session.state() == Session::State::open) {
        const std::size_t taken = session.feed(in.substr(0, next()), talk.out);
        if (taken == 0) FAIL("nothing was taken");
        in.remove_prefix(taken);
    }
    talk.state = session.state();
    talk.idle = session.idle();
    talk.left = in;
    talk.host.session = nullptr;
    check_replies(talk.out);
    return talk;
}

inline Talk talk(std::string_view in, const Setup& setup = {}) {
    Talk whole = talk_once(setup, in, [] { return std::string_view::npos; });
    const auto agrees = [&](const Talk& other) {
        REQUIRE(other.out == whole.out);
        REQUIRE(other.state == whole.state);
        REQUIRE(other.idle == whole.idle);
        REQUIRE(other.host.resets == whole.host.resets);
        REQUIRE(other.host.asked.size() == whole.host.asked.size());
        REQUIRE(other.host.delivered.size() == whole.host.delivered.size());
        for (std::size_t i = 0; i < whole.host.delivered.size(); ++i) {
            REQUIRE(other.host.delivered[i].bytes == whole.host.delivered[i].bytes);
            REQUIRE(other.host.delivered[i].envelope.session == whole.host.delivered[i].envelope.session);
        }
    };
    agrees(talk_once(setup, in, [] { return 1; }));
    std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
    for (const std::size_t longest : {2U, 3U, 7U, 100U, 5000U})
        agrees(talk_once(setup, in, [&] { return 1 + random() % longest; }));
    return whole;
}

inline const std::string kHello = "LHLO client.example.org\r\n";
// Up to where DATA or BDAT may follow.
inline const std::string kReady = kHello + "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n";

using Codes = std::vector<std::string>;

}  // namespace roost::lmtp
