#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/folder.h"
#include "catch.h"
#include "mail/address.h"
#include "mail/header.h"
#include "mail/message.h"

using namespace roost;

namespace {

std::string bytes_of(const Message& message) {
    std::string out;
    REQUIRE(message.each([&](std::string_view chunk) -> Result<void> {
        out += chunk;
        return {};
    }));
    return out;
}

// The message as read from a descriptor that gives at most `piece` bytes at a time.
Message read_back(const std::string& bytes) {
    Files files;
    std::array<char, 4096> cwd{};
    REQUIRE(::getcwd(cwd.data(), cwd.size()) != nullptr);
    // Of this process alone: tests run side by side.
    const std::string dir = std::string(cwd.data()) + "/roost-mail-test-spool." + std::to_string(::getpid());
    const Fd file(::open(".", O_TMPFILE | O_RDWR, 0600));
    REQUIRE(file);
    REQUIRE(files.write(file.get(), bytes, "test"));
    ::lseek(file.get(), 0, SEEK_SET);
    auto message = Message::read(files, file.get(), dir, Deadline::in(std::chrono::seconds(60)));
    REQUIRE(message);
    ::rmdir(dir.c_str());
    return *std::move(message);
}

}  // namespace

TEST_CASE("addresses are split at the last @, lowered, and refused when they cannot be a mailbox") {
    const auto text = [](std::string_view in) {
        const auto address = parse_address(in);
        return address ? address->local + "|" + address->domain : "error";
    };
    CHECK(text("Alice@Example.ORG") == "alice|example.org");
    CHECK(text("<alice@example.org>") == "alice|example.org");
    CHECK(text("alice") == "alice|");
    CHECK(text("\"a b\"@example.org") == "a b|example.org");
    CHECK(text("\"a\\\"@x\"@example.org") == "a\"@x|example.org");
    for (const auto& bad :
         {std::string(), std::string("<>"), std::string("@x"), std::string("a@"), std::string("a\n@x"),
          std::string("a\0b@x", 5), std::string(330, 'a'), std::string("a\x7f@x")})
        CHECK(text(bad) == "error");
    CHECK(text("a@" + std::string(318, 'x')) != "error");
    CHECK(text("a@" + std::string(319, 'x')) == "error");
}

TEST_CASE("a sender keeps its case, the null sender is a sender, header injection is not") {
    CHECK(*parse_sender("<>") == "");
    CHECK(*parse_sender("") == "");
    CHECK(*parse_sender("Bob@Example.org") == "Bob@Example.org");
    CHECK_FALSE(parse_sender("a@b\nX-Evil: 1"));
    CHECK_FALSE(parse_sender("a@b>\t<c"));
    for (const char* odd : {R"("a <b> c"@x)", R"("\"> "@x)"}) CHECK(*parse_sender(odd) == odd);
    for (const char* none : {"a b@c", "a<b@c", R"("a" b@c)", R"("\"<@x">)"}) CHECK_FALSE(parse_sender(none));
}

TEST_CASE("the detail begins behind the first separator that is not the first character") {
    const auto split = [](std::string_view local, std::string_view separators) {
        const Split out = split_detail(*parse_address(std::string(local) + "@X"), separators);
        return out.base.text() + " " + out.detail;
    };
    CHECK(split("alice+lists+x", "+") == "alice@x lists+x");
    CHECK(split("Alice+Lists", "+") == "alice@x Lists");
    CHECK(split("alice-lists+x", "+-") == "alice@x lists+x");
    CHECK(split("+alice", "+") == "+alice@x ");
    CHECK(split("alice+", "+") == "alice@x ");
    CHECK(split("alice+x", "") == "alice+x@x ");
}

TEST_CASE("folder names: both separators, INBOX in any case, nothing that could leave the mailbox") {
    const auto name = [](std::string_view in) {
        const auto folder = parse_folder(in);
        return folder ? folder_name(*folder) : "error";
    };
    CHECK(name("") == "INBOX");
    CHECK(name("inbox") == "INBOX");
    CHECK(name("INBOX.Sent") == "Sent");
    CHECK(name("INBOX/inbox.Sent") == "Sent");
    CHECK(name("INBOX.INBOX") == "INBOX");
    CHECK(name("Inbox/a.b") == "a/b");
    CHECK(name("Lists/roost") == "Lists/roost");
    CHECK(name("Entwürfe") == "Entwürfe");
    for (const char* bad : {".", "..", "../x", "a//b", "/etc", "a/", ".a", "a..b", "~root", "a\nb", "\xff"}) {
        INFO(bad);
        CHECK(name(bad) == "error");
    }
    CHECK(name(std::string_view("a\0b", 3)) == "error");
    CHECK(name(std::string(200, 'x')) != "error");
    CHECK(name(std::string(201, 'x')) == "error");
    CHECK(name("1.2.3.4.5.6.7.8.9.10") != "error");
    CHECK(name("1.2.3.4.5.6.7.8.9.10.11") == "error");
}

TEST_CASE("message bytes stay as they are, in memory and spooled") {
    std::string all;
    for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
    const std::string big = "Subject: x\r\n\r\n" + std::string(Message::kMemory, 'y') + "\r\nz\n" + all;
    for (const std::string& bytes :
         {std::string(), std::string("\n"), std::string("no final newline"), std::string("a\rb\n\rc"), all, big,
          std::string(Message::kMemory, '\n'), std::string(Message::kMemory + 1, '\n')}) {
        const Message message = read_back(bytes);
        CHECK(message.size() == bytes.size());
        CHECK(bytes_of(message) == bytes);
        CHECK(message.bare_newlines() == Message::from_text(bytes).bare_newlines());
    }
    CHECK(Message::from_text("a\r\nb\nc\n").bare_newlines() == 2);
    CHECK(Message::from_text("\n").bare_newlines() == 1);
}

TEST_CASE("a leading From line is dropped and tells the sender, in memory and spooled") {
    const std::string body = "Subject: x\n\nFrom here\n";
    const std::string pad(Message::kMemory, 'y');
    for (const std::string& tail : {body, body + pad}) {
        const Message message = read_back("From bob@example.org Sat Jan  3 01:05:34 1996\n" + tail);
        CHECK(message.from_line_sender() == "bob@example.org");
        CHECK(bytes_of(message) == tail);
        CHECK(message.size() == tail.size());
        CHECK(message.bare_newlines() == Message::from_text(tail).bare_newlines());
    }
    CHECK(read_back("From MAILER-DAEMON Sat\nx").from_line_sender() == "");
    CHECK(read_back("From <> Sat\nx").from_line_sender() == "");
    CHECK(read_back("From <bob@x> Sat\nx").from_line_sender() == "bob@x");
    CHECK(read_back("From \"b o\\\"b\"@x Sat\nx").from_line_sender() == "\"b o\\\"b\"@x");
    for (const std::string none : {"From \nx", "From a>b Sat\nx", "From \"b o Sat\nx", "From \x01@x Sat\nx"}) {
        CAPTURE(none);
        CHECK_FALSE(read_back(none).from_line_sender());
        CHECK(read_back(none).size() == 1);
    }
    CHECK(read_back("From ").size() == 0);
    CHECK_FALSE(read_back("From: bob\n").from_line_sender());
    CHECK(read_back("From " + std::string(2000, 'x')).size() == 2005);
}

TEST_CASE("only trace fields above all other fields are the MTA's own") {
    const auto trace = [](const std::string& text) { return Message::from_text(text).trace(); };
    CHECK(trace("Return-Path: <a@b>\nDelivered-To: c\nReceived: x\n\n").return_path);
    CHECK(trace("return-path:<a@b>\r\nDELIVERED-TO: c\r\nSubject: x\r\n\r\n").delivered_to);
    CHECK_FALSE(trace("Received: x\nReturn-Path: <a@b>\n\n").return_path);
    CHECK_FALSE(trace("Received: x\n\nDelivered-To: c\n").delivered_to);
    CHECK(trace("X-Original-To: y\n z\nDelivered-To: c\n\n").delivered_to);
    CHECK(trace("Subject: x\nMessage-ID:\n <1@x>\nTo: y\n\n").message_id == "<1@x>");
    CHECK(trace("Message-ID: a\x01\x02 b\n\n").message_id == "a\\x01\\x02 b");
    CHECK(trace("Message-ID: " + std::string(1000, 'x') + "\n\n").message_id.size() == 250);
    CHECK(trace("\nMessage-ID: <1@x>\n").message_id.empty());
    CHECK(trace("Message-ID").message_id.empty());
}

TEST_CASE("a message whose end does not come in time is an error, not a message") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const Fd in(ends[0]);
    const Fd out(ends[1]);
    Files files;
    REQUIRE(files.write(out.get(), "Subject: half", "pipe"));
    const auto message = Message::read(files, in.get(), "/nonexistent", Deadline::in(std::chrono::milliseconds(20)));
    REQUIRE_FALSE(message);
    CHECK(is_temporary(message.error().outcome));
}

TEST_CASE("trace fields as the RFCs have them") {
    CHECK(return_path_field("") == "Return-Path: <>\n");
    CHECK(delivered_to_field("a@b") == "Delivered-To: a@b\n");
    const std::string received =
        received_field("mx.example.org", "1.2", "LMTP", std::chrono::system_clock::time_point(std::chrono::seconds(0)));
    CHECK(received.starts_with("Received: by mx.example.org (Roost) with LMTP\n\tid 1.2; "));
    CHECK(received.find(" 1970 ") != std::string::npos);
    CHECK(received.ends_with("\n"));
}
