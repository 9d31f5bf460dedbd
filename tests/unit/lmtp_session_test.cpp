#include "lmtp_talk.h"

using namespace roost;
using namespace roost::lmtp;

namespace {

// The reply to one more line after a greeting.
std::string reply_to(const std::string& line, const Setup& setup = {}) {
    const Talk got = talk(kHello + line + "\r\n", setup);
    return got.last(1)[0];
}

std::string address_of(const std::string& path, const std::string& mail = "MAIL FROM:<>") {
    const Talk got = talk(kHello + mail + "\r\nRCPT TO:" + path + "\r\n");
    if (got.host.asked.empty()) return got.last(1)[0];
    return got.host.asked[0].first.address;
}

std::string sender_of(const std::string& path) {
    const Talk got = talk(kHello + "MAIL FROM:" + path + "\r\nRCPT TO:<b@x>\r\nDATA\r\n.\r\n");
    if (got.host.delivered.empty()) return got.codes()[1];
    return got.host.delivered[0].envelope.sender.value_or("none");
}

// What SIZE says reaches the host.
std::uint64_t size_of(const std::string& parameters, const Setup& setup = {}) {
    const Talk got = talk(kHello + "MAIL FROM:<>" + parameters + "\r\nRCPT TO:<b@x>\r\n", setup);
    REQUIRE(got.host.asked.size() == 1);
    return got.host.asked[0].second;
}

Setup limited(std::uint64_t max_message) {
    Setup setup;
    setup.terms.max_message = max_message;
    return setup;
}

}  // namespace

TEST_CASE("lmtp: a whole session") {
    const Talk got = talk(
        "LHLO mta.example.org\r\n"
        "MAIL FROM:<chris@example.com> BODY=8BITMIME SIZE=12\r\n"
        "RCPT TO:<pat@example.org>\r\n"
        "DATA\r\n"
        "Hi\r\n"
        ".\r\n"
        "QUIT\r\n"
        "NOOP\r\n");
    CHECK(got.out ==
          "250-mx.example.org\r\n"
          "250-PIPELINING\r\n"
          "250-ENHANCEDSTATUSCODES\r\n"
          "250-8BITMIME\r\n"
          "250-SMTPUTF8\r\n"
          "250-CHUNKING\r\n"
          "250 SIZE\r\n"
          "250 2.1.0 OK\r\n"
          "250 2.1.5 OK\r\n"
          "354 Send the message; a dot on a line of its own ends it\r\n"
          "250 2.0.0 <S.1> Saved\r\n"
          "221 2.0.0 Bye\r\n");
    CHECK(got.state == Session::State::closed);
    CHECK(got.left == "NOOP\r\n");
    CHECK(got.host.asked[0].second == 12);
}

TEST_CASE("lmtp: LHLO takes the place of HELO and EHLO: RFC 2033 section 4.1") {
    CHECK(talk("HELO x\r\nEHLO x\r\nlhlo x\r\n").codes() == Codes{"500 5.5.1", "500 5.5.1", "250"});
    CHECK(talk("MAIL FROM:<>\r\n").codes() == Codes{"503 5.5.1"});
    CHECK(talk("HELO x\r\nMAIL FROM:<>\r\n").last(1) == Codes{"503 5.5.1"});
    CHECK(talk("LHLO\r\n").codes() == Codes{"501 5.5.4"});
    CHECK(talk("LHLO a b\r\n").codes() == Codes{"501 5.5.4"});
    CHECK(talk("LHLO \xc3\xa9\r\n").codes() == Codes{"501 5.5.4"});
    CHECK(talk("LHLO " + std::string(256, 'x') + "\r\n").codes() == Codes{"501 5.5.4"});
    CHECK(talk("LHLO " + std::string(255, 'x') + "\r\n").codes() == Codes{"250"});
    const Talk again = talk(kReady + "LHLO x\r\nDATA\r\n");
    CHECK(again.last(1) == Codes{"503 5.5.1"});
    CHECK(again.host.resets == 1);
}

TEST_CASE("lmtp: commands out of order: 503") {
    CHECK(talk(kHello + "RCPT TO:<b@x>\r\nDATA\r\nBDAT 0 LAST\r\n").last(3) ==
          Codes{"503 5.5.1", "503 5.5.1", "503 5.5.1"});
    CHECK(talk(kHello + "MAIL FROM:<>\r\nMAIL FROM:<>\r\n").last(1) == Codes{"503 5.5.1"});
    // RFC 2033 section 4.2: not 354 with one reply less than the client waits for.
    CHECK(talk(kHello + "MAIL FROM:<>\r\nDATA\r\n").last(1) == Codes{"503 5.5.1"});
    CHECK(talk(kHello + "MAIL FROM:<>\r\nRCPT TO:<unknown>\r\nRCPT TO:<full>\r\nDATA\r\n").last(1) ==
          Codes{"503 5.5.1"});
    CHECK(talk(kReady + "RSET\r\nDATA\r\n").last(2) == Codes{"250 2.0.0", "503 5.5.1"});
    CHECK(talk(kReady + "RSET\r\n").host.resets == 1);
    CHECK(talk(kHello + "RSET\r\nRSET\r\n").host.resets == 0);
}

TEST_CASE("lmtp: the small commands") {
    CHECK(reply_to("NOOP") == "250 2.0.0");
    CHECK(reply_to("noop anything at all") == "250 2.0.0");
    CHECK(reply_to("VRFY alice") == "252 2.0.0");
    CHECK(reply_to("VRFY") == "501 5.5.4");
    CHECK(reply_to("EXPN list") == "502 5.5.1");
    CHECK(reply_to("HELP") == "214 2.0.0");
    CHECK(reply_to("RSET") == "250 2.0.0");
    CHECK(reply_to("rSeT") == "250 2.0.0");
    CHECK(reply_to("RSET x") == "501 5.5.4");
    CHECK(reply_to("QUIT x") == "501 5.5.4");
    CHECK(reply_to("DATA x") == "501 5.5.4");
    CHECK(reply_to("QUIT ") == "221 2.0.0");
    CHECK(reply_to("STARTTLS") == "502 5.5.1");
    CHECK(reply_to("AUTH PLAIN x") == "500 5.5.2");
    CHECK(reply_to("RSETX") == "500 5.5.2");
    CHECK(reply_to("") == "500 5.5.2");
    CHECK(reply_to(" NOOP") == "500 5.5.2");
    CHECK(reply_to("NO\tOP") == "500 5.5.2");
    CHECK(reply_to(std::string("NOOP\0", 5)) == "500 5.5.2");
    CHECK(reply_to("NOOP \rNOOP") == "500 5.5.2");
    CHECK(reply_to(std::string("NOOP x\0y", 8)) == "500 5.5.2");
    CHECK(reply_to("LHLO x\x7f") == "500 5.5.2");
    CHECK(reply_to("NO\xd6P") == "500 5.5.2");
}

TEST_CASE("lmtp: a bare LF ends a command, as most servers have it") {
    CHECK(talk("LHLO x\nNOOP\nNOOP\r\n").codes() == Codes{"250", "250 2.0.0", "250 2.0.0"});
}

TEST_CASE("lmtp: paths are read as RFC 5321 section 4.1.2 writes them") {
    CHECK(address_of("<b@example.org>") == "b@example.org");
    CHECK(address_of("<B@Example.ORG>") == "B@Example.ORG");
    CHECK(address_of(" <b@example.org>") == "b@example.org");
    CHECK(address_of("<b@example.org>  ") == "b@example.org");
    CHECK(address_of("<b>") == "b");
    CHECK(address_of("<b@[127.0.0.1]>") == "b@[127.0.0.1]");
    CHECK(address_of("<b@[IPv6:::1]>") == "b@[IPv6:::1]");
    CHECK(address_of("<@one.example,@two.example:b@x>") == "b@x");
    CHECK(address_of("<\"b c\"@x>") == "\"b c\"@x");
    CHECK(address_of("<\"b>c<\"@x>") == "\"b>c<\"@x");
    CHECK(address_of(R"(<"b\">"@x>)") == R"("b\">"@x)");
    CHECK(address_of("<b..c.@x>") == "b..c.@x");
    CHECK(address_of("<>") == "501 5.1.3");
    CHECK(address_of("<@x>") == "501 5.5.2");
    CHECK(address_of("<b@>") == "501 5.1.3");
    CHECK(address_of("<@x:>") == "501 5.5.2");
    CHECK(address_of("<@x y:b@x>") == "501 5.5.2");
    CHECK(address_of("b@x") == "501 5.5.2");
    CHECK(address_of("<b@x") == "501 5.5.2");
    CHECK(address_of("<b c@x>") == "501 5.5.2");
    CHECK(address_of("<b<c@x>") == "501 5.5.2");
    CHECK(address_of("<\"b@x>") == "501 5.5.2");
    CHECK(address_of("<\"b\\") == "501 5.5.2");
    CHECK(address_of("<b@x>x") == "501 5.5.2");
    CHECK(address_of("<" + std::string(319, 'b') + "@x>") == "501 5.1.3");
    CHECK(address_of("<" + std::string(318, 'b') + "@x>") == std::string(318, 'b') + "@x");
    CHECK(reply_to("RCPT TO") == "503 5.5.1");
    CHECK(talk(kHello + "MAIL FROM:<>\r\nRCPT\r\nRCPT FROM:<b@x>\r\nRCPT b@x\r\n").last(3) ==
          Codes{"501 5.5.2", "501 5.5.2", "501 5.5.2"});
    CHECK(sender_of("<>") == "");
    CHECK(sender_of(" <>") == "");
    CHECK(sender_of("<A@Example.org>") == "A@Example.org");
    CHECK(sender_of("<@one:A@x>") == "A@x");
    CHECK(sender_of("<prvs=1234=a@x>") == "prvs=1234=a@x");
    for (const std::string odd : {"a", "a..b@x", "a.@x", "a@b@x", "\"@\"@x", "\"\"@x", "a@[::1]", "a@-x-", "a:b@x"})
        CHECK(sender_of("<" + odd + ">") == odd);
    CHECK(sender_of("<@>") == "501 5.5.2");
    CHECK(sender_of("<@x>") == "501 5.5.2");
    CHECK(sender_of("<@x:>") == "501 5.5.2");
    CHECK(sender_of("<@x:@y>") == "501 5.1.7");
    CHECK(sender_of("<@x:a@>") == "501 5.1.7");
    CHECK(sender_of("<a@>") == "501 5.1.7");
    CHECK(sender_of("<a@x@>") == "501 5.1.7");
    CHECK(sender_of("<" + std::string(321, 'a') + ">") == "501 5.1.7");
    CHECK(reply_to("MAIL FROM <a@x>") == "501 5.5.2");
    CHECK(reply_to("MAIL FROM:") == "501 5.5.2");
    CHECK(reply_to("MAIL") == "501 5.5.2");
    CHECK(reply_to("mail from:<a@x>") == "250 2.1.0");
}

TEST_CASE("lmtp: parameters that are not known or not well-formed are refused") {
    CHECK(reply_to("MAIL FROM:<> X=Y") == "555 5.5.4");
    CHECK(reply_to("MAIL FROM:<> AUTH=<>") == "555 5.5.4");
    CHECK(reply_to("MAIL FROM:<> BODY=7BIT") == "250 2.1.0");
    CHECK(reply_to("MAIL FROM:<> body=8bitmime") == "250 2.1.0");
    CHECK(reply_to("MAIL FROM:<> BODY=BINARYMIME") == "555 5.5.4");
    CHECK(reply_to("MAIL FROM:<> BODY=9BIT") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> BODY") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> BODY=") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> SMTPUTF8=1") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> =1") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> -X=1") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> SIZE=1=2") == "501 5.5.4");
    CHECK(reply_to("MAIL FROM:<> SIZE=1 size=2") == "501 5.5.4");
    CHECK(talk(kHello + "MAIL FROM:<>\r\nRCPT TO:<b@x> X\r\nRCPT TO:<b@x> SIZE=1\r\nRCPT TO:<b@x>\r\n").last(3) ==
          Codes{"555 5.5.4", "555 5.5.4", "250 2.1.5"});
}

TEST_CASE("lmtp: SIZE is judged and handed on: RFC 1870") {
    CHECK(size_of("") == 0);
    CHECK(size_of(" SIZE=0") == 0);
    CHECK(size_of(" SIZE=0000000001") == 1);
    CHECK(size_of(" SIZE=1000", limited(1000)) == 1000);
    CHECK(size_of(" SIZE=18446744073709551614") == 18446744073709551614U);
    CHECK(reply_to("MAIL FROM:<> SIZE=1001", limited(1000)) == "552 5.3.4");
    // Twenty digits are a number, if not one of 64 bits.
    for (const Setup& setup : {limited(0), limited(1000)})
        for (const std::string size : {"18446744073709551615", "18446744073709551616", "99999999999999999999"})
            CHECK(reply_to("MAIL FROM:<> SIZE=" + size, setup) == "552 5.3.4");
    for (const std::string bad : {"", "=", "=x", "=-1", "=+1", "=1x", "=0x1", "=100000000000000000000"})
        CHECK(reply_to("MAIL FROM:<> SIZE" + bad) == "501 5.5.4");
}

TEST_CASE("lmtp: addresses beyond ASCII want SMTPUTF8: RFC 6531") {
    const std::string utf8 = "<\xc3\xa9t\xc3\xa9@example.org>";
    CHECK(reply_to("MAIL FROM:" + utf8) == "553 5.6.7");
    CHECK(reply_to("MAIL FROM:" + utf8 + " SMTPUTF8") == "250 2.1.0");
    CHECK(reply_to("MAIL FROM:<a\xff@x> SMTPUTF8") == "501 5.1.7");
    CHECK(address_of(utf8) == "553 5.6.7");
    CHECK(address_of(utf8, "MAIL FROM:<> SMTPUTF8") == "\xc3\xa9t\xc3\xa9@example.org");
    CHECK(address_of("<a\xff@x>", "MAIL FROM:<> SMTPUTF8") == "501 5.1.3");
    CHECK(address_of("<a@x>", "MAIL FROM:<> SMTPUTF8") == "a@x");
}

TEST_CASE("lmtp: the greeting and the reply to LHLO fit, whatever the host is called") {
    Setup setup = Setup::trusted();
    setup.terms.offer_starttls = true;
    setup.terms.offer_dsn = true;
    setup.terms.max_message = UINT64_MAX;
    const auto first_line = [&](const std::string& host) {
        setup.terms.host = host;
        const Talk got = talk("LHLO x\r\n", setup);
        for (const std::string_view word :
             {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "CHUNKING", "SIZE 18446744073709551615",
              "STARTTLS", "DSN", "XCLIENT NAME ADDR HELO", "XFORWARD NAME ADDR HELO IDENT"}) {
            CAPTURE(word);
            const bool there = got.out.find("250-" + std::string(word) + "\r\n") != std::string::npos ||
                               got.out.find("250 " + std::string(word) + "\r\n") != std::string::npos;
            CHECK(there);
        }
        FakeHost host_of_greeting;
        const std::string greeting = Session(setup.terms, host_of_greeting).greeting();
        check_replies(greeting);
        CHECK(greeting.starts_with("220 " + host.substr(0, 10)));
        return got.out.substr(4, got.out.find("\r\n") - 4);
    };
    CHECK(first_line("mx.example.org") == "mx.example.org");
    // Room is for 33 octets, or as many labels as fit.
    CHECK(first_line(std::string(33, 'x')) == std::string(33, 'x'));
    CHECK(first_line(std::string(34, 'x')) == std::string(33, 'x'));
    CHECK(first_line("mail-1.production.europe-central.example.org") == "mail-1.production.europe-central");
    CHECK(first_line(std::string(33, 'x') + ".org") == std::string(33, 'x'));
    CHECK(first_line(std::string(1000, 'x')) == std::string(33, 'x'));
    check_replies(Session::busy_greeting(std::string(1000, 'x')));
    CHECK(Session::busy_greeting("Too many connections") == "421 4.3.2 Too many connections\r\n");
}

TEST_CASE("lmtp: replies carry texts of any length and content, cut between characters") {
    Setup setup;
    std::string text;
    setup.host = [&](FakeHost& host) { host.text = text; };
    const std::string rest = "RCPT TO:<b@x>\r\nDATA\r\n.\r\n";
    const auto told = [&](const std::string& mail) {
        const std::string out = talk(kHello + mail + "\r\n" + rest, setup).out;
        const std::size_t begin = out.rfind("<S.1> ") + 6;
        return out.substr(begin, out.size() - begin - 2);
    };
    text = "line one\r\nQUIT\tx\x7f";
    CHECK(told("MAIL FROM:<>") == "line one  QUIT x ");
    text = "\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xac";
    CHECK(told("MAIL FROM:<>") == "?t? ? ?");
    CHECK(told("MAIL FROM:<> SMTPUTF8") == text);
    text = "bad \xff";
    CHECK(told("MAIL FROM:<> SMTPUTF8") == "bad \\xff");
    // 250 2.0.0 <S.1> and CRLF leave 221 octets.
    for (std::size_t before = 210; before < 222; ++before) {
        text = std::string(before, 'x') + "\xf0\x9f\x93\xac\xf0\x9f\x93\xac\xf0\x9f\x93\xac";
        const std::string got = told("MAIL FROM:<> SMTPUTF8");
        CHECK(got == text.substr(0, before + std::min<std::size_t>(3, (221 - before) / 4) * 4));
    }
    text = std::string(10'000, 'x');
    CHECK(told("MAIL FROM:<>").size() == 221);
}

TEST_CASE("lmtp: STARTTLS forgets all that was said before: RFC 3207") {
    Terms terms = Setup::plain_terms();
    terms.offer_starttls = true;
    terms.trusted = true;
    FakeHost host;
    Session session(terms, host);
    host.session = &session;
    const auto say = [&](const std::string& in) {
        std::string out;
        CHECK(session.feed(in, out) == in.size());
        return out;
    };
    CHECK(say("LHLO x\r\n").find("250-STARTTLS\r\n") != std::string::npos);
    CHECK(say("STARTTLS x\r\n").starts_with("501 5.5.4"));
    CHECK(say("MAIL FROM:<>\r\nSTARTTLS\r\n").starts_with("250 2.1.0 OK\r\n503 5.5.1"));
    CHECK(say("RSET\r\nXCLIENT NAME=evil\r\nLHLO evil\r\n").starts_with("250"));
    CHECK(session.origin().name == "evil");
    std::string out;
    CHECK(session.feed("STARTTLS\r\nMAIL FROM:<>\r\n", out) == 10);
    CHECK(out == "220 2.0.0 Begin with TLS\r\n");
    CHECK(session.state() == Session::State::start_tls);
    CHECK(session.shutdown_reply().empty());
    session.secured();
    CHECK(session.state() == Session::State::open);
    CHECK(session.peer_name().empty());
    CHECK(session.origin().name.empty());
    CHECK(say("MAIL FROM:<>\r\n").starts_with("503 5.5.1"));
    CHECK(say("LHLO x\r\n").find("STARTTLS") == std::string::npos);
    CHECK(say("STARTTLS\r\n").starts_with("503 5.5.1"));
    CHECK(session.peer_name() == "x");
    host.coming = terms;
    CHECK(say("MAIL FROM:<>\r\nRCPT TO:<reload>\r\nLHLO x\r\nLHLO x\r\n").find("STARTTLS") == std::string::npos);
}

TEST_CASE("lmtp: where TLS is required, nothing is taken before it but what leads there: RFC 3207 section 4") {
    Setup setup = Setup::trusted();
    setup.terms.offer_starttls = true;
    setup.terms.require_tls = true;
    for (const std::string line : {"MAIL FROM:<>", "RCPT TO:<b@x>", "DATA", "RSET", "RSET x", "VRFY b", "EXPN b",
                                   "HELP", "XCLIENT NAME=x", "XFORWARD NAME=x", "BDAT 0 LAST", "BDAT 6\r\nNOOP\r\n"})
        CHECK(talk(kHello + line + "\r\n", setup).codes()[1] == "530 5.7.0");
    CHECK(talk(kReady + "DATA\r\n", setup).host.asked.empty());
    CHECK(talk(kHello + "BDAT 6\r\nQUIT\r\nNOOP\r\n", setup).last(2) == Codes{"530 5.7.0", "250 2.0.0"});
    CHECK(reply_to("NOOP", setup) == "250 2.0.0");
    CHECK(reply_to("LHLO x", setup) == "250");
    CHECK(reply_to("STARTTLS", setup) == "220 2.0.0");
    CHECK(reply_to("QUIT", setup) == "221 2.0.0");
    CHECK(reply_to("EHLO x", setup) == "500 5.5.1");
    CHECK(reply_to("GET / HTTP/1.1", setup) == "421 4.7.0");
    CHECK(reply_to("BDAT x", setup) == "421 4.7.0");
    SECTION("each is a refused command") {
        setup.terms.max_errors = 3;
        CHECK(talk(kHello + "RSET\r\nBDAT 0\r\nMAIL FROM:<>\r\n", setup).last(3) ==
              Codes{"530 5.7.0", "530 5.7.0", "421 4.7.0"});
    }
    SECTION("behind it all is as ever") {
        FakeHost host;
        Session session(setup.terms, host);
        host.session = &session;
        std::string out;
        session.feed("STARTTLS\r\n", out);
        session.secured();
        out.clear();
        for (std::string_view rest = kReady; !rest.empty();) rest.remove_prefix(session.feed(rest, out));
        CHECK(out.ends_with("250 2.1.0 OK\r\n250 2.1.5 OK\r\n"));
    }
}

TEST_CASE("lmtp: new terms hold from the next transaction on") {
    Terms coming = Setup::trusted().terms;
    coming.host = "other.example.org";
    coming.session = "other";
    coming.max_message = 10;
    coming.max_recipients = 1;
    coming.max_errors = 1;
    coming.offer_starttls = true;
    Setup setup;
    setup.host = [&](FakeHost& host) { host.coming = coming; };
    const std::string one =
        "MAIL FROM:<>\r\nRCPT TO:<reload>\r\nRCPT TO:<b@x>\r\nDATA\r\nlonger than ten octets\r\n.\r\n";
    SECTION("the one under way keeps its terms to its end") {
        const Talk got = talk(kHello + one + one, setup);
        CHECK(got.last(11) == Codes{"250 2.1.0", "250 2.1.5", "250 2.1.5", "354", "250 2.0.0", "250 2.0.0", "250 2.1.0",
                                    "250 2.1.5", "452 4.5.3", "354", "552 5.2.3"});
        REQUIRE(got.host.delivered.size() == 1);
        CHECK(got.host.delivered[0].envelope.session == "S.1");
    }
    SECTION("one that was given up is over") {
        const Talk got = talk(kReady + "RCPT TO:<reload>\r\nRSET\r\nMAIL FROM:<> SIZE=11\r\nMAIL FROM:<> RET=HDRS\r\n" +
                                  "RCPT TO:<b@x>\r\nDATA\r\n.\r\n",
                              setup);
        CHECK(got.last(5) == Codes{"552 5.3.4", "250 2.1.0", "250 2.1.5", "354", "250 2.0.0"});
        CHECK(got.host.delivered[0].envelope.session == "S.2");
    }
    SECTION("LHLO tells them") {
        const Talk got = talk(kHello + one + kHello, setup);
        for (const std::string line : {"250-other.example.org\r\n", "250-SIZE 10\r\n", "250-STARTTLS\r\n", "XCLIENT"})
            CHECK(got.out.find(line) != std::string::npos);
    }
    SECTION("from a peer that is trusted no more nothing is believed") {
        coming.trusted = false;
        const Talk got = talk(kHello + one + "XCLIENT NAME=x\r\n", [&] {
            setup.terms.trusted = true;
            return setup;
        }());
        CHECK(got.last(1) == Codes{"421 4.7.0"});
    }
}

TEST_CASE("lmtp: idle means that nothing would be lost by ending the session") {
    CHECK(talk("").idle);
    CHECK(talk(kHello).idle);
    CHECK_FALSE(talk(kHello + "N").idle);
    CHECK_FALSE(talk(kReady).idle);
    CHECK_FALSE(talk(kReady + "DATA\r\nx\r\n").idle);
    CHECK(talk(kReady + "DATA\r\nx\r\n.\r\n").idle);
    CHECK(talk(kReady + "RSET\r\n").idle);
    CHECK_FALSE(talk("BDAT 5\r\nabcd").idle);
    CHECK(talk("BDAT 5\r\nabcde").idle);
    CHECK_FALSE(talk(std::string(5000, 'x')).idle);
}

TEST_CASE("lmtp: a message is being received from DATA or BDAT to its end, whatever becomes of it") {
    const auto receiving = [](const std::string& in, const Setup& setup = {}) {
        FakeHost host;
        Session session(setup.terms, host);
        host.session = &session;
        std::string out;
        for (std::string_view rest = in; !rest.empty();) rest.remove_prefix(session.feed(rest, out));
        return session.receiving();
    };
    CHECK_FALSE(receiving(kReady));
    CHECK(receiving(kReady + "DATA\r\n"));
    CHECK(receiving(kReady + "DATA\r\nlonger than ten octets\r\n", limited(10)));
    CHECK_FALSE(receiving(kReady + "DATA\r\nx\r\n.\r\n"));
    CHECK(receiving(kReady + "BDAT 3\r\nab"));
    CHECK(receiving(kReady + "BDAT 3\r\nabc"));
    CHECK(receiving(kReady + "BDAT 3\r\nabcNOOP\r\nBD"));
    CHECK(receiving(kReady + "BDAT 30\r\nlonger than ten octets", limited(10)));
    CHECK_FALSE(receiving(kReady + "BDAT 3\r\nabcBDAT 0 LAST\r\n"));
    CHECK_FALSE(receiving(kReady + "BDAT 3\r\nabcRSET\r\n"));
    CHECK(receiving("BDAT 3\r\nab"));
    CHECK_FALSE(receiving("BDAT 3\r\nabc"));
}

TEST_CASE("lmtp: verdicts are confirmed by a command sent after them, not by one pipelined with the data") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    host.session = &session;
    std::string out;
    const auto feed = [&](std::string_view in) {
        while (!in.empty()) in.remove_prefix(session.feed(in, out));
    };
    CHECK(session.verdicts_confirmed());
    feed(kReady + "DATA\r\nx\r\n.\r\nMAIL FROM:<>\r\nNO");
    CHECK_FALSE(session.verdicts_confirmed());
    feed("OP\r\n");
    CHECK_FALSE(session.verdicts_confirmed());
    feed("N");
    CHECK_FALSE(session.verdicts_confirmed());
    feed("OOP\r\n");
    CHECK(session.verdicts_confirmed());
    feed("RCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n");
    CHECK_FALSE(session.verdicts_confirmed());
    feed("NOOP\r\n");
    CHECK(session.verdicts_confirmed());
    host.behind = 6;  // sent before, and yet to be read
    feed("MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n");
    feed("NOOP\r\n");
    CHECK_FALSE(session.verdicts_confirmed());
    feed("QUIT\r\n");
    CHECK(session.verdicts_confirmed());
}

TEST_CASE(
    "lmtp: bytes that were counted as they are encrypted confirm nothing, and nothing afterwards is kept from it") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    host.session = &session;
    std::string out;
    const auto feed = [&](std::string_view in) {
        while (!in.empty()) in.remove_prefix(session.feed(in, out));
    };
    host.behind = 28;
    feed(kReady + "DATA\r\nx\r\n.\r\n");
    host.behind = 0;
    feed("RSET\r\n");  // these are the 28
    CHECK_FALSE(session.verdicts_confirmed());
    feed("NOOP\r\n");
    CHECK(session.verdicts_confirmed());
}

TEST_CASE("lmtp: last words while the session is open, none when it is closed") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    CHECK(session.timeout_reply() == "421 4.4.2 mx.example.org waited too long\r\n");
    CHECK(session.shutdown_reply() == "421 4.3.2 mx.example.org is shutting down\r\n");
    std::string out;
    session.feed("QUIT\r\n", out);
    CHECK(session.timeout_reply().empty());
    CHECK(session.shutdown_reply().empty());
}
