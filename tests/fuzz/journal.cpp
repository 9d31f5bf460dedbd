// The journal reader. Input: a generation's number as one octet, then the records of a segment as they are, but with
// sound checksums put in where a record's magic number stands.
#include "check.h"
#include "store/journal_format.h"

#include <cstring>
#include <string>

using namespace roost;

namespace {

// Without this no input of a fuzzer's would get past the checksums.
void put_in_checksums(std::string& segment, std::uint64_t generation) {
    constexpr std::size_t kHead = 24;
    for (std::size_t at = journal::kBlock; at + kHead <= segment.size(); at += 8) {
        if (segment.compare(at, 4, "ROOR") != 0) continue;
        std::uint32_t length = 0;
        std::memcpy(&length, segment.data() + at + 4, sizeof length);
        if (length > segment.size() - at - kHead) continue;
        std::string record = segment.substr(at, kHead + length);
        journal::seal(record, generation);
        segment.replace(at, record.size(), record);
    }
}

void look(const journal::Scan& scan, std::string_view segment) {
    std::uint64_t before = 0;
    for (const journal::Record& record : scan.records) {
        check(record.offset > before && record.offset < segment.size(), "records come in order");
        before = record.offset;
        if (!record.deliveries) continue;
        const std::string_view message = record.deliveries->message;
        check(message.empty() || (message.data() >= segment.data() &&
                                  message.data() + message.size() <= segment.data() + segment.size()),
              "a message lies in its segment");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest = text_of(data, size);
    look(journal::scan(rest), rest);
    if (rest.empty()) return 0;
    const auto generation = static_cast<std::uint64_t>(data[0]) + 1;
    rest.remove_prefix(1);
    std::string segment = journal::first_block({generation, true});
    segment += rest;
    put_in_checksums(segment, generation);
    const auto scan = journal::scan(segment);
    check(scan.state.in_use && scan.state.generation == generation, "the first block is read as it was written");
    look(scan, segment);
    return 0;
}
