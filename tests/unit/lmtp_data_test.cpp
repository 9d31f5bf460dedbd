#include "lmtp_talk.h"

using namespace roost;
using namespace roost::lmtp;

namespace {

// The messages that come of what follows DATA.
std::vector<std::string> messages(const std::string& data) {
    std::vector<std::string> out;
    for (const auto& one : talk(kReady + "DATA\r\n" + data).host.delivered) out.push_back(one.bytes);
    return out;
}

using Messages = std::vector<std::string>;

std::string chunk(const std::string& bytes, bool last = false) {
    return "BDAT " + std::to_string(bytes.size()) + (last ? " LAST" : "") + "\r\n" + bytes;
}

std::string letters(std::size_t length) {
    std::string out;
    for (std::size_t i = 0; i < length; ++i) out += static_cast<char>('a' + i % 26);
    return out;
}

}  // namespace

TEST_CASE("lmtp: line ends become LF and stuffed dots go, all else is as it came") {
    CHECK(messages(".\r\n") == Messages{""});
    CHECK(messages("\r\n.\r\n") == Messages{"\n"});
    CHECK(messages("Subject: x\r\n\r\nbody\r\n.\r\n") == Messages{"Subject: x\n\nbody\n"});
    CHECK(messages("..\r\n...\r\n.x\r\n..x.\r\n.\r\n") == Messages{".\n..\nx\n.x.\n"});
    CHECK(messages("x.\r\ny\r\n.\r\n") == Messages{"x.\ny\n"});
    const std::string bytes("a\0b\xff\xc3\x28\x80\x7f\x01", 9);
    CHECK(messages(bytes + "\r\n.\r\n") == Messages{bytes + "\n"});
    CHECK(messages("a\rb\nc\r\rd\n\r\n.\r\n") == Messages{"a\rb\nc\r\rd\n\n"});
    CHECK(messages("a\r\r\n.\r\n") == Messages{"a\r\n"});
    CHECK(messages(".\r\r\n.\r\n") == Messages{"\r\n"});
    CHECK(messages(".\rx\r\n.\r\n") == Messages{"\rx\n"});
    const std::string line = letters(100'000);
    CHECK(messages(line + "\r\n" + line + "\r\n.\r\n") == Messages{line + "\n" + line + "\n"});
}

TEST_CASE("lmtp: only CRLF.CRLF ends data: no bare CR or LF smuggles a message in") {
    // Each is followed by a transaction that would be carried out if the data had ended there.
    const std::string smuggled = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nevil\r\n";
    const std::vector<std::string> ends{
        "\n.\n",       "\n.\r\n",    "\r\n.\n",   "\r.\r",
        "\r\n.\r",     "\r.\r\n",    "\r.\n",     "\n.\r",
        "\n\n.\r\n",   "\r\r.\r",    "\n\r.\r\n", "\r\n.\r\r",
        "\r\n..\r\n",  "\n\r.\n\r",  "\r\r.\r\n", std::string("\r\n.\0\r\n", 6),
        "\r\n.\r\r\n", "\r\n. \r\n",
    };
    for (const std::string& end : ends) {
        CAPTURE(end);
        const Talk got = talk(kReady + "DATA\r\none" + end + smuggled + ".\r\nQUIT\r\n");
        REQUIRE(got.host.delivered.size() == 1);
        CHECK(got.host.delivered[0].bytes.find("evil@example.org") != std::string::npos);
        CHECK(got.host.delivered[0].bytes.ends_with("evil\n"));
        CHECK(got.last(2) == Codes{"250 2.0.0", "221 2.0.0"});
    }
}

TEST_CASE("lmtp: one reply for each accepted recipient, in order, repeated ones too") {
    const Talk got = talk(kHello +
                          "MAIL FROM:<a@example.org>\r\n"
                          "RCPT TO:<one@x>\r\nRCPT TO:<unknown@x>\r\nRCPT TO:<late@x>\r\nRCPT TO:<one@x>\r\n"
                          "RCPT TO:<full@x>\r\nRCPT TO:<busy@x>\r\nRCPT TO:<odd@x>\r\n"
                          "DATA\r\nhello\r\n.\r\nNOOP\r\n");
    CHECK(got.codes() == Codes{"250", "250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "552 5.2.2",
                               "451 4.7.1", "550 5.0.0", "354", "250 2.0.0", "552 5.2.2", "250 2.0.0", "250 2.0.0"});
    REQUIRE(got.host.delivered.size() == 1);
    const Envelope& envelope = got.host.delivered[0].envelope;
    REQUIRE(envelope.recipients.size() == 3);
    CHECK(envelope.recipients[1].address == "late@x");
    CHECK(envelope.recipients[2].address == "one@x");
    CHECK(envelope.sender == "a@example.org");
    CHECK(envelope.session == "S.1");
    CHECK(got.out.find("250 2.0.0 <S.1> Saved\r\n552 5.2.2 Full by now\r\n250 2.0.0 <S.1> Saved\r\n") !=
          std::string::npos);
    CHECK(got.host.resets == 1);
}

TEST_CASE("lmtp: answers that are missing count as trouble of ours") {
    Setup setup;
    setup.host = [](FakeHost& host) { host.missing_answers = 1; };
    CHECK(talk(kReady + "RCPT TO:<c@x>\r\nDATA\r\nx\r\n.\r\n", setup).last(2) == Codes{"250 2.0.0", "451 4.3.0"});
}

TEST_CASE("lmtp: the next transaction is another one, and several fit into one session") {
    const std::string one = "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n";
    const Talk got = talk(kHello + one + one + "RSET\r\n" + one + "QUIT\r\n");
    REQUIRE(got.host.delivered.size() == 3);
    CHECK(got.host.delivered[2].envelope.session == "S.3");
    CHECK(got.host.delivered[2].envelope.sender == "");
    CHECK(got.host.delivered[1].bytes == "x\n");
    CHECK(got.host.resets == 3);
}

TEST_CASE("lmtp: the session hands verdicts over before it begins with what was pipelined behind them") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    host.session = &session;
    std::string out;
    const std::string data = kReady + "DATA\r\nx\r\n.\r\n";
    const std::string more = "MAIL FROM:<>\r\n";
    CHECK(session.feed(data + more, out) == data.size());
    CHECK(out.ends_with("250 2.0.0 <S.1> Saved\r\n"));
}

TEST_CASE("lmtp: message bytes come in big pieces") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    host.session = &session;
    std::string lines;
    for (int i = 0; i < 1000; ++i) lines += letters(70) + "\r\n";
    std::string out;
    session.feed(kReady + "DATA\r\n" + lines, out);
    CHECK(host.largest_piece > 30'000);
}

TEST_CASE("lmtp: a message beyond the limit is swallowed, and each recipient is told") {
    Setup setup;
    setup.terms.max_message = 100;
    const std::string ready = kReady + "RCPT TO:<c@x>\r\n";
    SECTION("the limit is in the terms of RFC 1870: line ends are two octets, stuffed dots none") {
        const std::string fits = ".." + std::string(97, 'x') + "\r\n";
        CHECK(talk(ready + "DATA\r\n" + fits + ".\r\n", setup).last(2) == Codes{"250 2.0.0", "250 2.0.0"});
        const std::string over = ".." + std::string(98, 'x') + "\r\n";
        const Talk got = talk(ready + "DATA\r\n" + over + ".\r\nNOOP\r\n", setup);
        CHECK(got.last(3) == Codes{"552 5.2.3", "552 5.2.3", "250 2.0.0"});
        CHECK(got.host.delivered.empty());
        CHECK(got.host.resets == 1);
        REQUIRE(got.host.failures.size() == 1);
        CHECK(got.host.failures[0].first == 2);
        CHECK(got.host.failures[0].second.outcome == Outcome::message_too_large);
    }
    SECTION("much over") {
        CHECK(talk(ready + "DATA\r\n" + std::string(300'000, 'x') + "\r\n.\r\nNOOP\r\n", setup).last(3) ==
              Codes{"552 5.2.3", "552 5.2.3", "250 2.0.0"});
    }
    SECTION("in chunks") {
        const std::string in = chunk(std::string(60, 'x')) + chunk(std::string(60, 'x')) + chunk(std::string(60, 'x')) +
                               chunk("y", true) + "NOOP\r\n";
        const Talk got = talk(ready + in, setup);
        CHECK(got.last(6) == Codes{"250 2.0.0", "552 5.2.3", "503 5.5.1", "552 5.2.3", "552 5.2.3", "250 2.0.0"});
        CHECK(got.host.failures.size() == 1);
    }
    SECTION("even when the host failed before") {
        setup.host = [](FakeHost& host) { host.room = 0; };
        CHECK(talk(ready + "DATA\r\n" + std::string(200, 'x') + "\r\n.\r\n", setup).last(1) == Codes{"552 5.2.3"});
    }
    SECTION("a lone CR at the very end of chunks counts") {
        CHECK(talk(ready + chunk(std::string(99, 'x') + "\r", true), setup).last(1) == Codes{"250 2.0.0"});
        CHECK(talk(ready + chunk(std::string(100, 'x') + "\r", true), setup).last(1) == Codes{"552 5.2.3"});
    }
}

TEST_CASE("lmtp: when the host cannot take the bytes, the rest is swallowed and each recipient is told") {
    Setup setup;
    setup.host = [](FakeHost& host) { host.room = 0; };
    const std::string ready = kReady + "RCPT TO:<c@x>\r\n";
    const Talk got = talk(ready + "DATA\r\n" + letters(100'000) + "\r\nQUIT\r\n.\r\nNOOP\r\n", setup);
    CHECK(got.last(3) == Codes{"452 4.3.1", "452 4.3.1", "250 2.0.0"});
    CHECK(got.host.delivered.empty());
    CHECK(got.host.resets == 1);
    CHECK(talk(ready + chunk("abc") + chunk("def") + chunk("QUIT\r\n", true) + "NOOP\r\n", setup).last(5) ==
          Codes{"452 4.3.1", "503 5.5.1", "452 4.3.1", "452 4.3.1", "250 2.0.0"});
    CHECK(talk(ready + chunk("abc") + "RSET\r\nMAIL FROM:<>\r\n", setup).last(3) ==
          Codes{"452 4.3.1", "250 2.0.0", "250 2.1.0"});
}

TEST_CASE("lmtp: chunks make a message: RFC 3030") {
    SECTION("line ends are turned, across chunks too, dots are text, and no newline is added") {
        const Talk got = talk(kReady + chunk("a\r") + chunk("\n.\r\n..b\r") + chunk("c") + chunk("\r\n\rd", true));
        CHECK(got.last(4) == Codes{"250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"});
        REQUIRE(got.host.delivered.size() == 1);
        CHECK(got.host.delivered[0].bytes == "a\n.\n..b\rc\n\rd");
    }
    SECTION("what looks like commands or an end of data is text") {
        const std::string text = "\r\n.\r\nQUIT\r\nRSET\r\n";
        const Talk got = talk(kReady + chunk(text, true) + "QUIT\r\n");
        REQUIRE(got.host.delivered.size() == 1);
        CHECK(got.host.delivered[0].bytes == "\n.\nQUIT\nRSET\n");
        CHECK(got.state == Session::State::closed);
    }
    SECTION("a last chunk of nothing") {
        const Talk got = talk(kReady + chunk("x") + "BDAT 0\r\n" + "bdat 0 last\r\n");
        CHECK(got.last(3) == Codes{"250 2.0.0", "250 2.0.0", "250 2.0.0"});
        REQUIRE(got.host.delivered.size() == 1);
        CHECK(got.host.delivered[0].bytes == "x");
        CHECK(talk(kReady + "BDAT 0 LAST\r\n").host.delivered.size() == 1);
    }
    SECTION("a lone CR at the end stays") {
        CHECK(talk(kReady + chunk("x\r") + "BDAT 0 LAST\r\n").host.delivered[0].bytes == "x\r");
    }
    SECTION("one reply per recipient for the last chunk, one for all others") {
        const Talk got = talk(kReady + "RCPT TO:<late@x>\r\n" + chunk("x") + chunk("y", true));
        CHECK(got.last(3) == Codes{"250 2.0.0", "250 2.0.0", "552 5.2.2"});
    }
    SECTION("a refused chunk's octets are swallowed") {
        CHECK(talk(chunk("QUIT\r\n", true) + "NOOP\r\n").codes() == Codes{"503 5.5.1", "250 2.0.0"});
        CHECK(talk(kHello + "MAIL FROM:<>\r\nRCPT TO:<unknown@x>\r\n" + chunk("QUIT\r\n") + chunk("QUIT\r\n", true) +
                   "NOOP\r\n")
                  .last(3) == Codes{"503 5.5.1", "503 5.5.1", "250 2.0.0"});
    }
    SECTION("behind a refused chunk nothing is taken that would make a message without it") {
        const std::string ready = kHello + "MAIL FROM:<>\r\n";
        const Talk got =
            talk(ready + chunk("x") + "RCPT TO:<b@x>\r\nDATA\r\n" + chunk("y") + chunk("z", true) + "MAIL FROM:<>\r\n");
        CHECK(got.last(6) == Codes(6, "503 5.5.1"));
        CHECK(got.host.asked.empty());
        CHECK(got.host.delivered.empty());
        for (const std::string again : {"RSET\r\n", kHello.c_str()})
            CHECK(talk(ready + chunk("x", true) + again + "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\n" + chunk("y", true))
                      .host.delivered.size() == 1);
    }
    SECTION("behind the first chunk only chunks") {
        CHECK(talk(kReady + chunk("x") + "DATA\r\nRCPT TO:<c@x>\r\nMAIL FROM:<>\r\n").last(3) ==
              Codes{"503 5.5.1", "503 5.5.1", "503 5.5.1"});
        const Talk got = talk(kReady + chunk("x") + "RSET\r\n" + chunk("y", true));
        CHECK(got.last(2) == Codes{"250 2.0.0", "503 5.5.1"});
        CHECK(got.host.delivered.empty());
    }
    SECTION("after the last chunk the transaction is over") {
        CHECK(talk(kReady + chunk("x", true) + chunk("y", true)).last(2) == Codes{"250 2.0.0", "503 5.5.1"});
    }
}

TEST_CASE("lmtp: a chunk whose length cannot be known ends the session: its octets are never taken for commands") {
    for (const std::string arguments : {"", " ", " x", " -1", " +1", " 1x", " 0x10", " 18446744073709551616",
                                        " 99999999999999999999999", " 5 FIRST", " 5 LAST LAST", " LAST", " 5,LAST"}) {
        CAPTURE(arguments);
        const Talk got = talk(kReady + "BDAT" + arguments + "\r\nRSET\r\n");
        CHECK(got.last(2) == Codes{"501 5.5.4", "421 4.7.0"});
        CHECK(got.state == Session::State::closed);
        CHECK(got.host.resets == 1);
    }
    // The longest length that can be told is no error; it is merely never reached.
    const Talk got = talk(kReady + "BDAT 18446744073709551615 LAST\r\n" + letters(100'000));
    CHECK(got.last(1) == Codes{"250 2.1.5"});
    CHECK(got.state == Session::State::open);
}

TEST_CASE("lmtp: nothing is delivered of a message that was cut off") {
    for (const std::string rest :
         {"DATA\r\nx\r\n", "DATA\r\nx\r\n.", "DATA\r\nx\r\n.\r", "BDAT 3 LAST\r\nab", "BDAT 3\r\nabc"})
        CHECK(talk(kReady + rest).host.delivered.empty());
}
