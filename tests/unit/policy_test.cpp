#include "policy/session.h"

#include "catch.h"

#include <map>
#include <string>
#include <vector>

using namespace roost;
using namespace roost::policy;

namespace {

// Recipients' names say what they say to a message; "small" takes at most 1000 bytes.
class FakeHost : public Host {
public:
    std::vector<std::pair<std::string, std::uint64_t>> asked;
    std::vector<std::string> refusals;

    Answer judge(std::string_view recipient, std::uint64_t size) override {
        asked.emplace_back(recipient, size);
        if (recipient.starts_with("full")) return {Outcome::over_quota, "the mailbox is full"};
        if (recipient.starts_with("later")) return {Outcome::over_quota_deferred, "the mailbox is full"};
        if (recipient.starts_with("unknown")) return {Outcome::no_such_user, "no such user: unknown"};
        if (recipient.starts_with("broken")) return {Outcome::trouble, "/secret/path: no such file"};
        if (recipient.starts_with("small") && size > 1000) return {Outcome::over_quota, "no room"};
        if (recipient.starts_with("tiny") && size > 1000) return {Outcome::message_too_large, "too large"};
        return {Outcome::delivered, {}};
    }
    void refused(const Request& request, const Answer& answer) override {
        refusals.push_back(request.state + " " + request.recipient + " " + std::string(row_of(answer.outcome).name));
    }
};

using Attributes = std::vector<std::pair<std::string, std::string>>;

std::string request(const std::string& state, const Attributes& more) {
    std::string out = "request=smtpd_access_policy\nprotocol_state=" + state + "\n";
    for (const auto& [name, value] : more) out.append(name).append("=").append(value).append("\n");
    return out + "\n";
}

std::string rcpt(const std::string& recipient, const std::string& size = "0", const std::string& instance = "i1") {
    return request("RCPT",
                   {{"recipient", recipient}, {"size", size}, {"instance", instance}, {"recipient_count", "0"}});
}

std::string end(const std::string& count, const std::string& size = "500", const std::string& instance = "i1") {
    return request("END-OF-MESSAGE",
                   {{"recipient", ""}, {"size", size}, {"instance", instance}, {"recipient_count", count}});
}

struct Talk {
    std::string out;
    std::string fault;
    bool idle = false;
    FakeHost host;

    std::vector<std::string> actions() const {
        std::vector<std::string> found;
        for (std::string_view rest = out; !rest.empty();) {
            const std::size_t end = rest.find("\n\n");
            REQUIRE(end != std::string_view::npos);
            REQUIRE(rest.starts_with("action="));
            found.emplace_back(rest.substr(7, end - 7));
            rest.remove_prefix(end + 2);
        }
        return found;
    }
};

constexpr std::chrono::minutes kSpan{1};

Talk talk_once(std::string_view in, std::size_t piece) {
    Talk talk;
    Recipients recipients(100, kSpan);
    Session session("unix", talk.host, recipients);
    while (!in.empty() && session.fault().empty()) {
        const std::size_t taken = session.feed(in.substr(0, piece), talk.out);
        if (taken == 0) FAIL("nothing was taken");
        in.remove_prefix(taken);
    }
    talk.fault = session.fault();
    talk.idle = session.idle();
    return talk;
}

// However the input is cut, the answers are the same.
Talk talk(std::string_view in) {
    Talk whole = talk_once(in, std::string_view::npos);
    for (const std::size_t piece : {1U, 2U, 7U, 100U}) {
        const Talk other = talk_once(in, piece);
        REQUIRE(other.out == whole.out);
        REQUIRE(other.fault == whole.fault);
        REQUIRE(other.host.asked == whole.host.asked);
    }
    return whole;
}

std::vector<std::string> actions(const std::string& in) { return talk(in).actions(); }

using Actions = std::vector<std::string>;

}  // namespace

TEST_CASE("policy: a request as Postfix 3.7 sends it") {
    const Talk got = talk(
        "request=smtpd_access_policy\n"
        "protocol_state=RCPT\n"
        "protocol_name=ESMTP\n"
        "helo_name=client.example.net\n"
        "queue_id=8045F2AB23\n"
        "sender=bob@example.net\n"
        "recipient=full@example.org\n"
        "recipient_count=0\n"
        "client_address=192.0.2.1\n"
        "client_name=client.example.net\n"
        "reverse_client_name=client.example.net\n"
        "instance=123.456.7\n"
        "sasl_method=\n"
        "sasl_username=\n"
        "sasl_sender=\n"
        "size=12345\n"
        "ccert_subject=\n"
        "ccert_issuer=\n"
        "ccert_fingerprint=\n"
        "encryption_protocol=TLSv1.3\n"
        "encryption_keysize=256\n"
        "etrn_domain=\n"
        "stress=\n"
        "ccert_pubkey_fingerprint=\n"
        "client_port=25000\n"
        "policy_context=\n"
        "server_address=192.0.2.2\n"
        "server_port=25\n"
        "compatibility_level=3.7\n"
        "mail_version=3.7.11\n"
        "\n");
    CHECK(got.out == "action=554 5.2.2 the mailbox is full\n\n");
    CHECK(got.host.asked == std::vector<std::pair<std::string, std::uint64_t>>{{"full@example.org", 12345}});
    CHECK(got.host.refusals == Actions{"RCPT full@example.org over-quota"});
    CHECK(got.idle);
}

TEST_CASE("policy: what is said to each outcome") {
    const auto at_rcpt = [](Outcome outcome) { return action_of({outcome, "why"}, true); };
    CHECK(at_rcpt(Outcome::delivered) == "DUNNO");
    CHECK(at_rcpt(Outcome::over_quota) == "554 5.2.2 why");
    CHECK(at_rcpt(Outcome::over_quota_deferred) == "452 4.2.2 why");
    CHECK(at_rcpt(Outcome::message_too_large) == "554 5.2.3 why");
    CHECK(at_rcpt(Outcome::no_such_user) == "550 5.1.1 why");
    CHECK(at_rcpt(Outcome::user_disabled) == "550 5.2.1 why");
    CHECK(action_of({Outcome::over_quota, "why"}, false) == "554 5.2.2 why");
    CHECK(action_of({Outcome::message_too_large, "why"}, false) == "552 5.2.3 why");
    for (const Outcome ours : {Outcome::trouble, Outcome::misconfigured, Outcome::store_full, Outcome::malformed}) {
        const std::string action = at_rcpt(ours);
        CHECK(action.starts_with("DEFER_IF_PERMIT 4.3.0 "));
        CHECK(action.find("why") == std::string::npos);  // no business of the sender's
    }
}

TEST_CASE("policy: a text is one line that any client can read") {
    const std::string action = action_of({Outcome::over_quota, "caf\xc3\xa9\nsize\x01" + std::string(500, 'x')}, true);
    CHECK(action.starts_with("554 5.2.2 caf?? size x"));
    CHECK(action.size() < 240);
}

TEST_CASE("policy: other states than RCPT and END-OF-MESSAGE have nothing to fear") {
    for (const char* state : {"CONNECT", "EHLO", "MAIL", "DATA", "VRFY", "ETRN", "", "rcpt"}) {
        const Talk got = talk(request(state, {{"recipient", "full@example.org"}, {"size", "1"}}));
        CHECK(got.actions() == Actions{"DUNNO"});
        CHECK(got.host.asked.empty());
    }
}

TEST_CASE("policy: the end of a message for one recipient is judged by its real size") {
    const std::string one = request("END-OF-MESSAGE", {{"recipient", "small@x"}, {"size", "1001"}, {"instance", "i1"}});
    CHECK(actions(rcpt("small@x") + one) == Actions{"DUNNO", "554 5.2.2 no room"});
    const std::string tiny = request("END-OF-MESSAGE", {{"recipient", "tiny@x"}, {"size", "1001"}});
    CHECK(actions(tiny) == Actions{"552 5.2.3 too large"});
}

TEST_CASE("policy: a message for several is refused at its end if all of them refuse it") {
    CHECK(actions(rcpt("small1@x") + rcpt("small2@x") + end("2", "1001")) ==
          Actions{"DUNNO", "DUNNO", "554 5.2.2 no room"});
    // One good recipient is reason enough to take it.
    CHECK(actions(rcpt("small1@x") + rcpt("good@x") + end("2", "1001")).back() == "DUNNO");
    CHECK(actions(rcpt("small1@x") + rcpt("small2@x") + end("2", "1000")).back() == "DUNNO");
}

TEST_CASE("policy: who was refused at RCPT has no say at the end") {
    CHECK(actions(rcpt("full@x") + rcpt("small1@x") + rcpt("small2@x") + end("2", "1001")).back() ==
          "554 5.2.2 no room");
    CHECK(actions(rcpt("full@x") + rcpt("good1@x") + rcpt("good2@x") + end("2", "1001")).back() == "DUNNO");
}

TEST_CASE("policy: a message with recipients that nobody asked about is let through") {
    CHECK(actions(rcpt("small1@x") + rcpt("small2@x") + end("3", "1001")).back() == "DUNNO");
    CHECK(actions(rcpt("small1@x") + rcpt("small1@x") + end("2", "1001")).back() == "DUNNO");
    CHECK(actions(rcpt("small1@x") + end("0", "1001")).back() == "DUNNO");
    CHECK(actions(end("2", "1001")).back() == "DUNNO");
}

TEST_CASE("policy: recipients belong to their own message alone") {
    CHECK(actions(rcpt("small1@x", "0", "i1") + rcpt("small2@x", "0", "i1") + end("2", "1001", "i2")).back() ==
          "DUNNO");
    CHECK(actions(rcpt("small1@x", "0", "") + rcpt("small2@x", "0", "") + end("2", "1001", "")).back() == "DUNNO");
    // What began after it shows that a message is over.
    CHECK(actions(rcpt("small1@x", "0", "i1") + rcpt("small2@x", "0", "i1") + rcpt("good@x", "0", "i2") +
                  end("2", "1001", "i1"))
              .back() == "DUNNO");
}

TEST_CASE("policy: the mildest of several refusals is the message's") {
    FakeHost host;
    Recipients recipients(100, kSpan);
    const auto at_the_end = [&](const std::vector<std::string>& all) {
        for (const std::string& each : all) recipients.add("unix i9", each);
        Session session("unix", host, recipients);
        std::string out;
        session.feed(end(std::to_string(all.size()), "1001", "i9"), out);
        recipients.forget("unix i9");
        return out.substr(0, out.find_first_of("\n"));
    };
    CHECK(at_the_end({"full@x", "later@x"}) == "action=452 4.2.2 the mailbox is full");
    CHECK(at_the_end({"full@x", "later@x", "broken@x"}).starts_with("action=DEFER_IF_PERMIT 4.3.0 "));
    CHECK(at_the_end({"tiny@x", "full@x"}) == "action=554 5.2.2 the mailbox is full");
    CHECK(at_the_end({"broken@x", "full@x", "good@x"}) == "action=DUNNO");
}

TEST_CASE("policy: nothing of a request is left for the next one") {
    const std::string bare = "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=small@x\n\n";
    CHECK(actions(rcpt("small@x", "5000") + bare) == Actions{"554 5.2.2 no room", "DUNNO"});
    const std::string none = "request=smtpd_access_policy\nprotocol_state=END-OF-MESSAGE\n\n";
    CHECK(actions(rcpt("full@x") + none) == Actions{"554 5.2.2 the mailbox is full", "DUNNO"});
    CHECK_FALSE(talk(rcpt("good@x") + "protocol_state=RCPT\n\n").fault.empty());
}

TEST_CASE("policy: requests that come at once are answered one by one, in order") {
    CHECK(actions(rcpt("good@x") + rcpt("full@x") + rcpt("later@x") + rcpt("unknown@x") + rcpt("broken@x")) ==
          Actions{"DUNNO", "554 5.2.2 the mailbox is full", "452 4.2.2 the mailbox is full",
                  "550 5.1.1 no such user: unknown", "DEFER_IF_PERMIT 4.3.0 The mailbox cannot be looked at now"});
    // feed() comes back behind each, so that its answer is on its way before the next one is looked at.
    FakeHost host;
    Recipients recipients(100, kSpan);
    Session session("unix", host, recipients);
    std::string out;
    CHECK(session.feed(rcpt("good@x") + rcpt("full@x"), out) == rcpt("good@x").size());
    CHECK(host.asked.size() == 1);
}

TEST_CASE("policy: what is no request ends the connection without an answer") {
    for (const std::string& in : std::vector<std::string>{
             "\n", "hello\n", "=x\n", "EHLO client\n", "request=other\n\n", "recipient=full@x\n\n",
             "request=smtpd_access_policy\nprotocol_state=RCPT\nsize=12x\n\n",
             "request=smtpd_access_policy\nprotocol_state=RCPT\nsize=\n\n",
             "request=smtpd_access_policy\nprotocol_state=RCPT\nsize=99999999999999999999\n\n",
             "request=smtpd_access_policy\nrecipient_count=-1\n\n", std::string(kMaxLine + 1, 'x')}) {
        const Talk got = talk(in + rcpt("full@x"));
        CHECK_FALSE(got.fault.empty());
        CHECK(got.out.empty());
    }
}

TEST_CASE("policy: lines and requests have a largest size") {
    const std::string fits = "x=" + std::string(kMaxLine - 2, 'x') + "\n";
    CHECK(talk(fits + rcpt("good@x")).actions() == Actions{"DUNNO"});
    std::string many;
    while (many.size() <= kMaxRequest) many += fits;
    const Talk got = talk(many + rcpt("good@x"));
    CHECK(got.fault == "a request has more than 65536 octets");
}

TEST_CASE("policy: a repeated attribute counts as it stands last, an unknown one not at all") {
    CHECK(actions(request("RCPT", {{"recipient", "full@x"}, {"recipient", "good@x"}, {"nosuch", "x=y"}})) ==
          Actions{"DUNNO"});
}

TEST_CASE("policy: recipients are remembered for a while, and not too many") {
    using Clock = Recipients::Clock;
    const Clock::time_point now = Clock::now();
    Recipients recipients(3, kSpan);
    recipients.add("a", "1@x", now);
    recipients.add("a", "1@x", now);
    recipients.add("a", "2@x", now);
    CHECK(recipients.of("a", now) == Actions{"1@x", "2@x"});
    recipients.add("b", "3@x", now + std::chrono::seconds(1));
    CHECK(recipients.size() == 3);
    recipients.add("c", "4@x", now + std::chrono::seconds(2));
    CHECK(recipients.of("a", now).empty());  // the oldest went
    CHECK(recipients.of("b", now) == Actions{"3@x"});
    CHECK(recipients.of("b", now + kSpan + std::chrono::seconds(1)).empty());
    CHECK(recipients.of("c", now + kSpan + std::chrono::seconds(1)) == Actions{"4@x"});
    CHECK(recipients.size() == 1);
    recipients.forget("c");
    recipients.add("d", std::string(400, 'x'), now);
    CHECK(recipients.size() == 0);

    Recipients large(5000, kSpan);
    for (int i = 0; i < 1500; ++i) large.add("a", std::to_string(i) + "@x", now);
    CHECK(large.size() == Recipients::kMostOfOne);
}
