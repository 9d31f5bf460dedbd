#include "lmtp/command.h"
#include "lmtp_talk.h"

using namespace roost;
using namespace roost::lmtp;

namespace {

const std::string kRest = "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n.\r\n";

Origin origin_of(const std::string& commands) {
    const Talk got = talk(commands + kRest, Setup::trusted());
    REQUIRE(got.host.delivered.size() == 1);
    return got.host.delivered[0].origin;
}

std::string trusted_reply_to(const std::string& line, const Setup& setup = Setup::trusted()) {
    return talk(kHello + line + "\r\n", setup).last(1)[0];
}

// The original recipient that ORCPT tells, or the reply's code.
std::string original(const std::string& value, const std::string& mail = "MAIL FROM:<>") {
    const Talk got = talk(kHello + mail + "\r\nRCPT TO:<b@x> ORCPT=" + value + "\r\n", Setup::trusted());
    if (got.host.asked.empty()) return got.last(1)[0];
    return got.host.asked[0].first.original.value_or("none");
}

}  // namespace

TEST_CASE("lmtp: XFORWARD tells of one transaction") {
    const Origin origin =
        origin_of(kHello +
                  "XFORWARD NAME=mail.example.com ADDR=192.0.2.7 PORT=25 PROTO=ESMTP HELO=h.example.com\r\n"
                  "xforward ident=4Q2+2B7x source=REMOTE\r\n");
    CHECK(origin.name == "mail.example.com");
    CHECK(origin.address == "192.0.2.7");
    CHECK(origin.helo == "h.example.com");
    CHECK(origin.queue_id == "4Q2+7x");
    const Talk next = talk(kHello + "XFORWARD NAME=one\r\n" + kRest + kRest, Setup::trusted());
    CHECK(next.host.delivered[0].origin.name == "one");
    CHECK(next.host.delivered[1].origin.name.empty());
    const Origin second = origin_of(kHello + "XFORWARD NAME=one\r\nRSET\r\nXFORWARD IDENT=q\r\n");
    CHECK(second.name.empty());
    CHECK(second.queue_id == "q");
    CHECK(origin_of(kHello + "XFORWARD NAME=one\r\nRSET\r\n").name.empty());
    CHECK(origin_of(kHello + "XFORWARD NAME=one ADDR=::1\r\nXFORWARD NAME=[UNAVAILABLE]\r\n").name.empty());
    CHECK(origin_of(kHello + "XFORWARD NAME=one ADDR=IPV6:2001:db8::1\r\n").address == "2001:db8::1");
}

TEST_CASE("lmtp: XCLIENT tells of the session, and begins it anew") {
    const std::string xclient =
        "XCLIENT NAME=one ADDR=192.0.2.1 HELO=h PROTO=LMTP LOGIN=u DESTADDR=::1 DESTPORT=24 PORT=9\r\n";
    const Talk got = talk(kHello + xclient + "MAIL FROM:<>\r\n" + kHello + kRest + kRest, Setup::trusted());
    CHECK(got.codes()[1] == "220");
    CHECK(got.codes()[2] == "503 5.5.1");
    REQUIRE(got.host.delivered.size() == 2);
    CHECK(got.host.delivered[0].origin.name == "one");
    CHECK(got.host.delivered[1].origin.address == "192.0.2.1");
    const Origin both = origin_of(xclient + kHello + "XFORWARD NAME=two IDENT=q\r\n");
    CHECK(both.name == "two");
    CHECK(both.address == "192.0.2.1");
    CHECK(both.queue_id == "q");
    CHECK(origin_of(xclient + "XCLIENT NAME=[TEMPUNAVAIL]\r\n" + kHello).name.empty());
}

TEST_CASE("lmtp: XCLIENT and XFORWARD are for trusted peers, outside of transactions, and well-formed") {
    CHECK(trusted_reply_to("XCLIENT NAME=x", {}) == "550 5.7.14");
    CHECK(trusted_reply_to("XFORWARD NAME=x", {}) == "550 5.7.14");
    CHECK(talk(kHello).out.find("XFORWARD") == std::string::npos);
    CHECK(talk(kReady + "XCLIENT NAME=x\r\nXFORWARD NAME=x\r\n", Setup::trusted()).last(2) ==
          Codes{"503 5.5.1", "503 5.5.1"});
    for (const std::string verb : {"XCLIENT", "XFORWARD"})
        for (const std::string bad : {"", " ", " NAME", " X=y", " NAME=a=b", " NAME=+0", " NAME=+0G", " NAME=a+0Ab",
                                      " NAME=+FF", " ADDR=mail.example.org", " ADDR=1.2.3.4 X=", " NAME=\xc3\xa9"}) {
            CAPTURE(verb, bad);
            CHECK(trusted_reply_to(verb + bad) == "501 5.5.4");
        }
    CHECK(trusted_reply_to("XFORWARD NAME=" + std::string(256, 'x')) == "501 5.5.4");
    CHECK(trusted_reply_to("XFORWARD NAME=" + std::string(255, 'x')) == "250 2.0.0");
    CHECK(trusted_reply_to("XFORWARD NAME=+C3+A9") == "250 2.0.0");
    // All or nothing.
    CHECK(origin_of(kHello + "XFORWARD NAME=x ADDR=y\r\n").name.empty());
}

TEST_CASE("lmtp: the parameters of DSN are for trusted peers: RFC 3461") {
    for (const std::string parameter : {"RET=FULL", "RET=hdrs", "ENVID=q+2B1", "RET=FULL ENVID=x SIZE=1"}) {
        CHECK(trusted_reply_to("MAIL FROM:<> " + parameter) == "250 2.1.0");
        CHECK(trusted_reply_to("MAIL FROM:<> " + parameter, {}) == "555 5.5.4");
    }
    for (const std::string bad : {"RET=ALL", "RET", "ENVID=", "ENVID", "ENVID=+", "ENVID=+2"})
        CHECK(trusted_reply_to("MAIL FROM:<> " + bad) == "501 5.5.4");
    CHECK(trusted_reply_to("MAIL FROM:<> ENVID=" + std::string(101, 'x')) == "501 5.5.4");
    const auto rcpt = [](const std::string& parameter, const Setup& setup = Setup::trusted()) {
        return talk(kHello + "MAIL FROM:<>\r\nRCPT TO:<b@x> " + parameter + "\r\n", setup).last(1)[0];
    };
    for (const std::string good : {"NOTIFY=NEVER", "NOTIFY=success,FAILURE,delay", "NOTIFY=DELAY"}) {
        CHECK(rcpt(good) == "250 2.1.5");
        CHECK(rcpt(good, {}) == "555 5.5.4");
    }
    for (const std::string bad :
         {"NOTIFY", "NOTIFY=", "NOTIFY=ALWAYS", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY,", "NOTIFY=,"})
        CHECK(rcpt(bad) == "501 5.5.4");
    CHECK(rcpt("ORCPT=rfc822;a@b", {}) == "555 5.5.4");
    Setup setup = Setup::trusted();
    CHECK(talk(kHello, setup).out.find("DSN") == std::string::npos);
    setup.terms.offer_dsn = true;
    CHECK(talk(kHello, setup).out.find("DSN") != std::string::npos);
    setup.terms.trusted = false;
    CHECK(talk(kHello, setup).out.find("DSN") == std::string::npos);
}

TEST_CASE("lmtp: ORCPT becomes the original recipient, decoded") {
    CHECK(original("rfc822;alias@example.org") == "alias@example.org");
    CHECK(original("RFC822;a+2Btag+40@x") == "a+tag@@x");
    CHECK(original("x400;whatever") == "none");
    const std::string utf8 = "\xc3\xa9@x";
    CHECK(original("utf-8;\\x{E9}@x") == utf8);
    CHECK(original("utf-8;" + utf8, "MAIL FROM:<> SMTPUTF8") == utf8);
    CHECK(original("utf-8;a\\x{1F4EC}\\x{20AC}@x") == "a\xf0\x9f\x93\xac\xe2\x82\xac@x");
    CHECK(original("rfc822;" + std::string(493, 'x')) == std::string(493, 'x'));
    // As Postfix sends it for a recipient that is not ASCII.
    CHECK(original("rfc822;+C3+A9@x") == utf8);
    for (const std::string bad :
         {"", "rfc822", ";a@x", "rfc822;", "rfc822;a+@x", "rfc822;a+0", "rfc822;\xc3\xa9", "rfc822;a=b", "utf-8;"}) {
        CAPTURE(bad);
        CHECK(original(bad) == "501 5.5.4");
    }
    for (const std::string useless :
         {"rfc822;a+0Ab", "rfc822;a+0D+0AX:y", "rfc822;a+FF", "utf-8;\\x{D800}", "utf-8;\\x{110000}", "utf-8;\\x{}",
          "utf-8;\\x{E9", "utf-8;\\x{0A}", "utf-8;\xff", "utf-8;\\x{FFFFFFFFFFFFFFFFF}", "utf-8;\\x{100000041}"}) {
        CAPTURE(useless);
        CHECK(original(useless) == "none");
    }
    CHECK(original("rfc822;" + std::string(494, 'x')) == "none");
}
