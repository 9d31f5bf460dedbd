// The bytes of a journal segment.
//
// A segment is a file of a fixed size that is written over again and again. All numbers are little-endian.
//
//   block 0   4096 octets: "ROOSTJ1\n", u64 generation, u64 state (1: in use, 0: nothing to bring back), u64 XXH3 of
//             these 24 octets, zeroes. A generation is never used twice in a journal.
//   records   from octet 4096 on, each at a multiple of 8:
//               u32 "ROOR", u32 length of the payload
//               u64 generation, as in block 0: what is left of an earlier use has another one
//               u64 XXH3 of the payload, seeded with the generation
//               payload, zeroes up to a multiple of 8
//   payload   u8 kind
//               'D' deliveries of one message: u32 count, then for each user, place and header, each as u32 length and
//                   octets; then the message: u64 length and octets
//               'C' a delivery that was not acknowledged after all, and is not to be brought back:
//                   u64 generation and u64 offset of its record, u32 index in it
//
// A record whose checksum does not fit is the end of the log, where a crash cut a write short, unless whole records of
// the same generation follow: then it is damaged. Where block 0 cannot be read the segment is damaged, too, and taken
// for one in use by the latest generation of its records: rather a message too many than one too few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost::journal {

inline constexpr std::size_t kBlock = 4096;

// One recipient's delivery: whose, where the module is to put it (Pending::Redo), and what stands before the message.
struct Entry {
    std::string user;
    std::string place;
    std::string header;
};
struct Deliveries {
    std::vector<Entry> entries;
    std::string_view message;  // in the segment that was scanned
};
struct Cancel {
    std::uint64_t generation = 0;
    std::uint64_t offset = 0;
    std::uint32_t index = 0;
    auto operator<=>(const Cancel&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm
};

// What a segment's first block says.
struct State {
    std::uint64_t generation = 0;
    bool in_use = false;
};
std::string first_block(const State& state);
// Nothing if it is none.
std::optional<State> state_of(std::string_view block);

// Puts a record together in the caller's buffer: one of the payloads, piece by piece in the order below, then end.
class RecordWriter {
public:
    // Appends to `out`, whose size is a multiple of 8.
    explicit RecordWriter(std::string& out);
    void deliveries(std::size_t count);
    void entry(std::string_view user, std::string_view place, std::string_view header);
    void message_size(std::uint64_t size);
    void message_bytes(std::string_view bytes);
    void cancel(const Cancel& cancelled);
    void end();

private:
    std::string& out_;
    std::size_t begin_;
};

// Fills in what makes the record at the beginning of `record` one of `generation`. A record without it is none.
void seal(std::string& record, std::uint64_t generation);

// What a segment holds.
struct Record {
    std::uint64_t offset = 0;
    std::optional<Deliveries> deliveries;  // else it is `cancel`
    Cancel cancel;
};
struct Scan {
    State state;                  // as block 0 says, or the records; not in use: there are none
    std::vector<Record> records;  // in order
    bool damaged = false;         // some record that others follow is not whole, or block 0 is not readable
};

// Reads a whole segment, whatever is in it. The result refers to `segment`. Pure.
Scan scan(std::string_view segment);

}  // namespace roost::journal
