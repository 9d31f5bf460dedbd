#include "store/journal_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>

namespace roost::journal {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::string_view kMagic = "ROOSTJ1\n";
constexpr std::uint32_t kRecordMagic = 0x524f4f52;  // "ROOR"
constexpr std::size_t kRecordHead = 24;
constexpr std::size_t kAlign = 8;

template <class T>
void put(std::string& out, T number) {
    std::array<char, sizeof number> bytes{};
    std::memcpy(bytes.data(), &number, sizeof number);
    out.append(bytes.data(), bytes.size());
}

void put_text(std::string& out, std::string_view text) {
    put(out, static_cast<std::uint32_t>(text.size()));
    out.append(text);
}

std::uint64_t checksum(std::string_view bytes, std::uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::size_t aligned(std::size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

// Takes numbers and texts from the front. What is asked for beyond the end makes it fail for good.
class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_(bytes) {}

    template <class T>
    T number() {
        T out{};
        const std::string_view bytes = take(sizeof out);
        if (!bytes.empty()) std::memcpy(&out, bytes.data(), sizeof out);
        return out;
    }
    std::string_view text() { return take(number<std::uint32_t>()); }
    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) sound_ = false;
        if (!sound_) return {};
        const std::string_view out = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return out;
    }
    // All was there, and no more.
    bool whole() const { return sound_ && rest_.empty(); }
    bool sound() const { return sound_; }

private:
    std::string_view rest_;
    bool sound_ = true;
};

std::optional<Record> parse(std::string_view payload) {
    Record out;
    Reader in(payload);
    switch (in.number<char>()) {
        case 'D': {
            Deliveries deliveries;
            const auto count = in.number<std::uint32_t>();
            for (std::uint32_t i = 0; i < count && in.sound(); ++i) {
                Entry entry;
                entry.user = in.text();
                entry.place = in.text();
                entry.header = in.text();
                deliveries.entries.push_back(std::move(entry));
            }
            deliveries.message = in.take(in.number<std::uint64_t>());
            out.deliveries = std::move(deliveries);
            break;
        }
        case 'C':
            out.cancel.generation = in.number<std::uint64_t>();
            out.cancel.offset = in.number<std::uint64_t>();
            out.cancel.index = in.number<std::uint32_t>();
            break;
        default:
            return std::nullopt;
    }
    if (!in.whole()) return std::nullopt;
    return out;
}

// The record at `offset` and where the next one begins; nothing if there is none that is whole.
struct Found {
    Record record;
    std::size_t next;
};
std::optional<Found> record_at(std::string_view segment, std::size_t offset, std::uint64_t generation) {
    if (segment.size() < kRecordHead || offset > segment.size() - kRecordHead) return std::nullopt;
    Reader head(segment.substr(offset, kRecordHead));
    const auto magic = head.number<std::uint32_t>();
    const auto length = head.number<std::uint32_t>();
    const auto written_in = head.number<std::uint64_t>();
    const auto sum = head.number<std::uint64_t>();
    if (magic != kRecordMagic || written_in != generation) return std::nullopt;
    if (length > segment.size() - offset - kRecordHead) return std::nullopt;
    const std::string_view payload = segment.substr(offset + kRecordHead, length);
    if (checksum(payload, generation) != sum) return std::nullopt;
    auto record = parse(payload);
    if (!record) return std::nullopt;
    record->offset = offset;
    return Found{*std::move(record), aligned(offset + kRecordHead + length)};
}

// Where, at or behind `at`, the next record might begin.
std::size_t next_magic(std::string_view segment, std::size_t at) {
    do {
        at = segment.find("ROOR", at);
    } while (at != std::string_view::npos && at % kAlign != 0 && ++at);
    return at;
}

// What a first block that cannot be read may have said: in use by the latest of the generations that left whole
// records.
State state_by_records(std::string_view segment) {
    State out;
    for (std::size_t at = next_magic(segment, kBlock); at != std::string_view::npos; at = next_magic(segment, at + 1)) {
        Reader head(segment.substr(at));
        head.number<std::uint64_t>();
        const auto generation = head.number<std::uint64_t>();
        if (generation > out.generation && record_at(segment, at, generation)) out = {generation, true};
    }
    return out;
}

}  // namespace

std::string first_block(const State& state) {
    std::string out(kMagic);
    put(out, state.generation);
    put(out, std::uint64_t{state.in_use});
    put(out, checksum(out, 0));
    out.resize(kBlock);
    return out;
}

std::optional<State> state_of(std::string_view block) {
    Reader in(block);
    const std::string_view magic = in.take(kMagic.size());
    State out;
    out.generation = in.number<std::uint64_t>();
    out.in_use = in.number<std::uint64_t>() != 0;
    const auto sum = in.number<std::uint64_t>();
    if (!in.sound() || magic != kMagic || sum != checksum(block.substr(0, kMagic.size() + 2 * sizeof sum), 0))
        return std::nullopt;
    return out;
}

RecordWriter::RecordWriter(std::string& out) : out_(out), begin_(out.size()) { out_.append(kRecordHead, '\0'); }

void RecordWriter::deliveries(std::size_t count) {
    put(out_, 'D');
    put(out_, static_cast<std::uint32_t>(count));
}

void RecordWriter::entry(std::string_view user, std::string_view place, std::string_view header) {
    put_text(out_, user);
    put_text(out_, place);
    put_text(out_, header);
}

void RecordWriter::message_size(std::uint64_t size) { put(out_, size); }

void RecordWriter::message_bytes(std::string_view bytes) { out_.append(bytes); }

void RecordWriter::cancel(const Cancel& cancelled) {
    put(out_, 'C');
    put(out_, cancelled.generation);
    put(out_, cancelled.offset);
    put(out_, cancelled.index);
}

void RecordWriter::end() {
    std::string head;
    put(head, kRecordMagic);
    put(head, static_cast<std::uint32_t>(out_.size() - begin_ - kRecordHead));
    out_.replace(begin_, head.size(), head);
    out_.resize(begin_ + aligned(out_.size() - begin_));
}

void seal(std::string& record, std::uint64_t generation) {
    Reader in(std::string_view(record).substr(sizeof kRecordMagic));
    const auto length = in.number<std::uint32_t>();
    std::string head;
    put(head, generation);
    put(head, checksum(std::string_view(record).substr(kRecordHead, length), generation));
    record.replace(kRecordHead - head.size(), head.size(), head);
}

Scan scan(std::string_view segment) {
    Scan out;
    if (const auto state = state_of(segment.substr(0, kBlock))) {
        out.state = *state;
    } else {
        out.damaged = segment.find_first_not_of('\0') != std::string_view::npos;
        if (out.damaged) out.state = state_by_records(segment);
    }
    if (!out.state.in_use) return out;
    bool gap = false;
    for (std::size_t at = kBlock; at < segment.size();) {
        auto found = record_at(segment, at, out.state.generation);
        if (!found) {
            gap = true;
            at = next_magic(segment, at + kAlign);
            continue;
        }
        out.damaged = out.damaged || gap;
        out.records.push_back(std::move(found->record));
        at = found->next;
    }
    return out;
}

}  // namespace roost::journal
