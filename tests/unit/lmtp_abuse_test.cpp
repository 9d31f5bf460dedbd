#include "lmtp_talk.h"

using namespace roost;
using namespace roost::lmtp;

namespace {

std::string repeat(const std::string& text, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i) out += text;
    return out;
}

}  // namespace

TEST_CASE("lmtp: too many errors end the session with 421") {
    Setup setup;
    setup.terms.max_errors = 3;
    const Talk got = talk("x\r\nNOOP\r\nx\r\nx\r\nx\r\n", setup);
    CHECK(got.codes() == Codes{"500 5.5.2", "250 2.0.0", "500 5.5.2", "421 4.7.0"});
    CHECK(got.state == Session::State::closed);
    CHECK(talk(kReady + "x\r\nx\r\nx\r\n", setup).host.resets == 1);
    SECTION("a delivery shows that the client is sound") {
        CHECK(talk(kReady + "x\r\nx\r\nDATA\r\n.\r\nx\r\nx\r\n", setup).last(1) == Codes{"500 5.5.2"});
    }
    SECTION("refused recipients are no errors: a list's dead members must not end an MTA's session") {
        const Talk many = talk(
            kHello + "MAIL FROM:<>\r\n" + repeat("RCPT TO:<unknown>\r\nRCPT TO:<full>\r\n", 10) + "NOOP\r\n", setup);
        CHECK(many.last(2) == Codes{"552 5.2.2", "250 2.0.0"});
    }
    SECTION("nor is what a pipelining client sent behind a MAIL that was refused") {
        setup.terms.max_message = 10;
        const std::string one = "MAIL FROM:<> SIZE=11\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\nRSET\r\n";
        CHECK(talk(kHello + repeat(one, 5), setup).last(5) ==
              Codes{"552 5.3.4", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0"});
        CHECK(talk(kHello + one + "DATA\r\nDATA\r\nDATA\r\n", setup).last(1) == Codes{"421 4.7.0"});
    }
}

TEST_CASE("lmtp: an overlong command line is swallowed and refused once") {
    const std::string line = "NOOP " + std::string(4096 - 7, 'x') + "\r\n";
    REQUIRE(line.size() == 4096);
    CHECK(talk(line + line).codes() == Codes{"250 2.0.0", "250 2.0.0"});
    CHECK(talk("x" + line + "NOOP\r\n").codes() == Codes{"500 5.5.2", "250 2.0.0"});
    CHECK(talk(std::string(10'000, 'x') + "\r\nNOOP\r\n").codes() == Codes{"500 5.5.2", "250 2.0.0"});
    CHECK(talk(std::string(10'000, 'x')).codes().empty());
    // A command at its end is not one.
    CHECK(talk(std::string(4096, 'x') + "QUIT\r\nNOOP\r\n").codes() == Codes{"500 5.5.2", "250 2.0.0"});
}

TEST_CASE("lmtp: a flood without sense ends with 421, with line ends or without") {
    CHECK(talk(std::string(1'000'000, 'x')).codes() == Codes{"421 4.7.0"});
    CHECK(talk(std::string(1'000'000, '\n')).last(1) == Codes{"421 4.7.0"});
    CHECK(talk(std::string(1'000'000, '\0')).last(1) == Codes{"421 4.7.0"});
    const Talk longish = talk(repeat(std::string(20'000, 'x') + "\r\n", 50));
    CHECK(longish.last(1) == Codes{"421 4.7.0"});
    CHECK(longish.codes().size() == 10);
}

TEST_CASE("lmtp: a browser that was talked into connecting here is turned away at its first line") {
    for (const std::string method : {"POST", "GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "post"}) {
        const Talk got = talk(method + " / HTTP/1.1\r\nHost: 127.0.0.1:24\r\n\r\n" + kReady + "DATA\r\nx\r\n.\r\n");
        CHECK(got.codes() == Codes{"421 4.7.0"});
        CHECK(got.host.asked.empty());
    }
}

TEST_CASE("lmtp: recipients beyond the limit are put off, those before it are served") {
    Setup setup;
    setup.terms.max_recipients = 3;
    const Talk got = talk(kReady + repeat("RCPT TO:<b@x>\r\n", 50) + "DATA\r\n.\r\n", setup);
    const Codes codes = got.codes();
    CHECK(codes[4] == "250 2.1.5");
    CHECK(codes[5] == "452 4.5.3");
    CHECK(codes[53] == "354");
    CHECK(got.last(3) == Codes{"250 2.0.0", "250 2.0.0", "250 2.0.0"});
    CHECK(got.host.asked.size() == 3);
}

TEST_CASE("lmtp: however much is asked at once, what there is to say is handed over in time") {
    FakeHost host;
    Session session(Setup::plain_terms(), host);
    const std::string in = repeat("NOOP\r\n", 100'000);
    std::string_view rest = in;
    while (!rest.empty()) {
        std::string out;
        rest.remove_prefix(session.feed(rest, out));
        REQUIRE(out.size() < 8192);
    }
}

TEST_CASE("lmtp: any bytes at all get sound replies, the same however they are cut") {
    // Words of the language, and bytes that are none of it.
    const std::vector<std::string> words{
        "LHLO x\r\n",
        "MAIL FROM:<a@b>",
        "MAIL FROM:<>",
        "RCPT TO:<c@d>",
        "RCPT TO:<unknown@d>",
        "DATA\r\n",
        "BDAT 3",
        "BDAT 9 LAST",
        "\r\n",
        "\r",
        "\n",
        ".",
        ".\r\n",
        "\r\n.\r\n",
        " SIZE=5",
        " SMTPUTF8",
        "RSET\r\n",
        "QUIT\r\n",
        "XCLIENT NAME=x\r\n",
        "XFORWARD IDENT=y\r\n",
        "STARTTLS\r\n",
        "NOOP\r\n",
        std::string(1, '\0'),
        "\xff",
        "<",
        ">",
        "\"",
        std::string(3000, 'z'),
        " ORCPT=rfc822;a@b",
        "BDAT 99999999999999999999\r\n",
    };
    Setup setup = Setup::trusted();
    setup.terms.max_message = 5000;
    setup.terms.max_errors = 10;
    setup.terms.offer_starttls = true;
    std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same each time
    std::size_t deliveries = 0;
    for (int round = 0; round < 300; ++round) {
        std::string in = random() % 2 == 0 ? kReady : kReady + "DATA\r\n";
        for (int i = 0; i < 40; ++i) in += words[random() % words.size()];
        deliveries += talk(in, setup).host.delivered.size();
    }
    CHECK(deliveries > 50);
}
