// Dovecot's dict protocol, on transcripts of its three major versions.
#include "dict/proxy_protocol.h"

#include "catch.h"

using namespace roost;
using Command = ProxyReader::Command;
using ReplyKind = ProxyReply::Kind;

namespace {

const DictTransaction kBoth{"u@x.org",
                            {{DictChange::Kind::unset, "priv/quota/storage", {}, 0},
                             {DictChange::Kind::set, "priv/quota/storage", "1024", 0},
                             {DictChange::Kind::add, "priv/quota/messages", {}, -3}}};

// The replies to `commands` that a server's `text` makes, fed byte by byte.
std::vector<ProxyReply> replies(std::initializer_list<Command> commands, std::string_view text) {
    ProxyReader reader;
    for (const Command command : commands) reader.expect(command);
    for (const char c : text) {
        CHECK_FALSE(reader.complete());
        if (!reader.feed({&c, 1})) FAIL("broken at " << text);
    }
    REQUIRE(reader.complete());
    return reader.take();
}

bool broken(std::initializer_list<Command> commands, std::string_view text) {
    ProxyReader reader;
    for (const Command command : commands) reader.expect(command);
    return !reader.feed(text);
}

}  // namespace

TEST_CASE("proxy: a client of major 2 names the user in the first line alone") {
    CHECK(proxy_hello(2, "quota", "u@x.org") == "H2\t2\t0\tu@x.org\tquota\n");
    CHECK(proxy_lookup(2, "u@x.org", "priv/quota/storage") == "Lpriv/quota/storage\n");
    CHECK(proxy_transaction(2, 7, kBoth) ==
          "B7\nU7\tpriv/quota/storage\nS7\tpriv/quota/storage\t1024\nA7\tpriv/quota/messages\t-3\nC7\n");
}

TEST_CASE("proxy: a client of major 3 names the user in each command") {
    CHECK(proxy_hello(3, "quota", "u@x.org") == "H3\t2\t0\t\tquota\n");
    CHECK(proxy_lookup(3, "u@x.org", "priv/quota/storage") == "Lpriv/quota/storage\tu@x.org\n");
    CHECK(proxy_transaction(3, 7, kBoth) ==
          "B7\tu@x.org\nU7\tpriv/quota/storage\nS7\tpriv/quota/storage\t1024\nA7\tpriv/quota/messages\t-3\nC7\n");
}

TEST_CASE("proxy: a client of major 4 adds when a transaction expires: never") {
    CHECK(proxy_hello(4, "quota", "u@x.org") == "H4\t0\t0\t\tquota\n");
    CHECK(proxy_lookup(4, "u@x.org", "priv/quota/storage") == "Lpriv/quota/storage\tu@x.org\n");
    CHECK(proxy_transaction(4, 7, {"u\t1", {}}) ==
          "B7\tu\x01"
          "t1\t0\nC7\n");
}

TEST_CASE("proxy: a line as long as a server takes fits, and one byte more does not") {
    const std::string longest(kProxyLongestLine - 1, 'x');
    CHECK(proxy_fits("C1\n" + longest + "\n"));
    CHECK_FALSE(proxy_fits("C1\n" + longest + "x\nC2\n"));
}

TEST_CASE("proxy: replies in any order come back in the order of the commands") {
    const auto got = replies({Command::lookup, Command::lookup, Command::commit},
                             "*11\n*12\n*13\n"
                             "+13\tO7\t1700000000\t1\t1700000000\t2\n"
                             "+12\tN\t1700000000\t1\t1700000000\t2\n"
                             "+11\tO1024\t1700000000\t1\t1700000000\t2\n");
    CHECK(got[0].kind == ReplyKind::ok);
    CHECK(got[0].text == "1024");
    CHECK(got[1].kind == ReplyKind::not_found);
    CHECK(got[2].kind == ReplyKind::ok);
}

TEST_CASE("proxy: a server that does not number commands is understood") {
    const auto got = replies({Command::lookup, Command::commit}, "O1024\nN7\n");
    CHECK(got[0].text == "1024");
    CHECK(got[1].kind == ReplyKind::not_found);
}

TEST_CASE("proxy: a reply may come before a later command has its number") {
    const auto got = replies({Command::lookup, Command::lookup}, "*1\n+1\tOa\n*2\n+2\tOb\n");
    CHECK(got[0].text == "a");
    CHECK(got[1].text == "b");
}

TEST_CASE("proxy: values come unescaped, and of several the first") {
    CHECK(replies({Command::lookup},
                  "*1\n+1\tOa\x01"
                  "tb\x01"
                  "1\t1\t2\t3\t4\n")[0]
              .text == "a\tb\x01");
    CHECK(replies({Command::lookup},
                  "*1\n+1\tMa\x01"
                  "1tb\x01"
                  "tc\t1\t2\t3\t4\n")[0]
              .text == "a\tb");
    CHECK(replies({Command::lookup}, "*1\n+1\tO\n")[0].text.empty());
}

TEST_CASE("proxy: a failure and an uncertain write carry the server's reason") {
    const auto got = replies({Command::lookup, Command::commit, Command::commit},
                             "*1\n*2\n*3\n+1\tFno such\x01"
                             "ttable\t1\t2\t3\t4\n+2\tF8\tdisk full\t1\t2\t3\t4\n"
                             "+3\tW9\tlost it\t1\t2\t3\t4\n");
    CHECK(got[0].kind == ReplyKind::failed);
    CHECK(got[0].text == "no such\ttable");
    CHECK(got[1].kind == ReplyKind::failed);
    CHECK(got[1].text == "disk full");
    CHECK(got[2].kind == ReplyKind::uncertain);
    CHECK(got[2].text == "lost it");
}

TEST_CASE("proxy: a reader is used again after its replies were taken") {
    ProxyReader reader;
    reader.expect(Command::lookup);
    REQUIRE(reader.feed("*1\n+1\tOa\n"));
    CHECK(reader.take().size() == 1);
    reader.expect(Command::lookup);
    CHECK_FALSE(reader.complete());
    REQUIRE(reader.feed("*2\n+2\tOb\n"));
    CHECK(reader.take()[0].text == "b");
}

TEST_CASE("proxy: what no server says breaks the connection") {
    CHECK(broken({}, "O1\n"));
    CHECK(broken({}, "*1\n"));
    CHECK(broken({Command::lookup}, "*0\n"));
    CHECK(broken({Command::lookup}, "*x\n"));
    CHECK(broken({Command::lookup}, "*1\n*2\n"));
    CHECK(broken({Command::lookup}, "*1\n+2\tO\n"));
    CHECK(broken({Command::lookup}, "*1\n+1\n"));
    CHECK(broken({Command::lookup}, "\n"));
    CHECK(broken({Command::lookup}, "W1\tx\n"));
    CHECK(broken({Command::commit}, "M1\n"));
    CHECK(broken({Command::lookup}, "220 mail.example.org ESMTP\n"));
    CHECK(broken({Command::lookup}, std::string((std::size_t(16) << 20U) + 1, 'x')));
}
