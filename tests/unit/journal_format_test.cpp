#include "store/journal_format.h"

#include <string>
#include <vector>

#include "catch.h"

using namespace roost;
using namespace roost::journal;

namespace {

std::string deliveries(std::uint64_t generation, const std::vector<Entry>& entries, std::string_view message) {
    std::string out;
    RecordWriter writer(out);
    writer.deliveries(entries.size());
    for (const Entry& entry : entries) writer.entry(entry.user, entry.place, entry.header);
    writer.message_size(message.size());
    writer.message_bytes(message);
    writer.end();
    seal(out, generation);
    return out;
}

std::string segment_of(std::uint64_t generation, const std::vector<std::string>& records) {
    std::string out = first_block({generation, true});
    for (const std::string& record : records) out += record;
    out.resize(out.size() + 8192);
    return out;
}

std::vector<std::string> messages(const Scan& scan) {
    std::vector<std::string> out;
    for (const Record& record : scan.records)
        if (record.deliveries) out.emplace_back(record.deliveries->message);
    return out;
}

const std::vector<Entry> kOne{{"alice@x", "name\nINBOX", "Delivered-To: alice@x\n"}};

}  // namespace

TEST_CASE("journal: what is written is read again") {
    const std::vector<Entry> two{{"a@x", "p1", "h1\n"}, {"b@x", "p2", ""}};
    const std::string binary("\0\r\n\xff body", 9);
    std::string cancel;
    RecordWriter writer(cancel);
    writer.cancel({7, 4096, 1});
    writer.end();
    seal(cancel, 9);
    const std::string segment = segment_of(9, {deliveries(9, two, binary), cancel, deliveries(9, kOne, "")});
    const Scan found = scan(segment);
    CHECK(found.state.generation == 9);
    CHECK(found.state.in_use);
    CHECK_FALSE(found.damaged);
    REQUIRE(found.records.size() == 3);
    REQUIRE(found.records[0].deliveries);
    CHECK(found.records[0].offset == kBlock);
    CHECK(found.records[0].deliveries->message == binary);
    REQUIRE(found.records[0].deliveries->entries.size() == 2);
    CHECK(found.records[0].deliveries->entries[1].user == "b@x");
    CHECK(found.records[0].deliveries->entries[0].header == "h1\n");
    CHECK_FALSE(found.records[1].deliveries);
    CHECK(found.records[1].cancel == Cancel{7, 4096, 1});
    CHECK(found.records[2].deliveries->message.empty());
}

TEST_CASE("journal: the log ends where a write was cut short, wherever that was") {
    const std::string first = deliveries(3, kOne, "first");
    const std::string last = deliveries(3, kOne, "last, cut short");
    const std::string whole = segment_of(3, {first, last});
    for (std::size_t kept = 0; kept < last.size(); ++kept) {
        INFO(kept << " octets of the last record reached the disk");
        std::string segment = whole;
        for (std::size_t i = kBlock + first.size() + kept; i < segment.size(); ++i) segment[i] = '\0';
        const Scan found = scan(segment);
        CHECK_FALSE(found.damaged);
        const auto texts = messages(found);
        REQUIRE(!texts.empty());
        CHECK(texts.front() == "first");
        // What is missing may be padding alone.
        if (texts.size() == 2)
            CHECK(texts.back() == "last, cut short");
        else
            CHECK(texts.size() == 1);
    }
}

TEST_CASE("journal: any flipped octet is noticed, and the other records are still read") {
    const std::string first = deliveries(3, kOne, "first");
    const std::string middle = deliveries(3, kOne, "middle");
    const std::string whole = segment_of(3, {first, middle, deliveries(3, kOne, "last")});
    std::size_t noticed = 0;
    for (std::size_t i = 0; i < middle.size(); ++i) {
        INFO("octet " << i);
        std::string segment = whole;
        segment[kBlock + first.size() + i] = static_cast<char>(segment[kBlock + first.size() + i] ^ 0x20);
        const Scan found = scan(segment);
        const auto texts = messages(found);
        REQUIRE(texts.size() >= 2);
        CHECK(texts.front() == "first");
        CHECK(texts.back() == "last");
        if (texts.size() == 3) {
            CHECK(texts[1] == "middle");  // it was padding
        } else {
            CHECK(found.damaged);
            ++noticed;
        }
    }
    CHECK(noticed > middle.size() - 8);
}

TEST_CASE("journal: records of an earlier use of the segment are not read") {
    const std::string old = deliveries(4, kOne, "of yesterday");
    const std::string segment = segment_of(5, {deliveries(5, kOne, "of today"), old});
    const Scan found = scan(segment);
    CHECK(messages(found) == std::vector<std::string>{"of today"});
    CHECK_FALSE(found.damaged);
}

TEST_CASE("journal: a segment that is clean, empty or new has nothing to bring back") {
    std::string clean = first_block({6, false}) + deliveries(6, kOne, "done with");
    CHECK(scan(clean).records.empty());
    CHECK(scan(clean).state.generation == 6);
    CHECK_FALSE(scan(clean).damaged);
    for (const std::string& nothing : {std::string(), std::string(100000, '\0')}) {
        CHECK(scan(nothing).records.empty());
        CHECK_FALSE(scan(nothing).damaged);
    }
    clean[9] = 'x';
    CHECK(scan(clean).damaged);
}
