#include "journal.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <vector>

#include "config/value.h"
#include "text.h"
#include "user/hash.h"

namespace roost::mbox {
namespace {

constexpr std::string_view kMagic = "roost mbox ";
constexpr std::string_view kVersion = "1";
constexpr std::size_t kHeader = 512;  // a sector, so that it is written whole or not at all

// The numbers of a line "NAME 1 2 3"; false if there are not exactly as many.
template <std::size_t N>
bool read_numbers(const std::vector<std::string>& words, std::array<std::uint64_t, N>& out) {
    if (words.size() != N + 1) return false;
    for (std::size_t i = 0; i < N; ++i) {
        const std::string& word = words[i + 1];
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out[i]);
        if (error != std::errc() || end != word.data() + word.size()) return false;
    }
    return true;
}

std::string line(std::string_view name, std::initializer_list<std::uint64_t> numbers) {
    std::string out(name);
    for (const std::uint64_t number : numbers) out += " " + std::to_string(number);
    return out + "\n";
}

// What the header says, with the size of what follows it.
struct Header {
    Journal journal;
    std::size_t witness = 0;
    std::string_view summed;  // the part of the header that the sum covers
    std::uint64_t sum = 0;
};

// Nothing if it is damaged.
std::optional<Header> parse_header(std::string_view text) {
    Header header;
    bool summed = false;
    std::size_t at = 0;
    while (at < text.size() && !summed) {
        const std::size_t end = text.find('\n', at);
        if (end == std::string_view::npos) return std::nullopt;
        const std::vector<std::string> words = parse_words(text.substr(at, end - at));
        if (words.empty()) return std::nullopt;
        std::array<std::uint64_t, 4> count{};
        std::array<std::uint64_t, 4> append{};
        std::array<std::uint64_t, 1> sum{};
        if (words[0] == "count" && read_numbers(words, count)) {
            header.journal.count = Count{count[0], count[1], static_cast<std::int64_t>(count[2]), count[3]};
        } else if (words[0] == "append" && read_numbers(words, append)) {
            header.journal.intent = Intent{append[0], append[1], append[2], {}};
            header.witness = append[3];
        } else if (words[0] == "sum" && read_numbers(words, sum)) {
            header.summed = text.substr(0, at);
            header.sum = sum[0];
            summed = true;
        } else if (words[0] != "roost") {
            return std::nullopt;
        }
        at = end + 1;
    }
    const bool sane = header.witness <= Intent::kWitness;
    return summed && sane ? std::optional(header) : std::nullopt;
}

Result<std::string> read_header(int fd, const std::string& path) {
    auto text = read_at(fd, path, 0, kHeader);
    if (!text || !text->starts_with(kMagic)) return text;
    const std::string_view version = std::string_view(*text).substr(kMagic.size());
    if (!version.starts_with(std::string(kVersion) + "\n"))
        return Error{Outcome::misconfigured, "cannot use " + path, "a later version of Roost wrote it",
                     "use that version, or remove the file while nothing is delivered", 0};
    return text;
}

}  // namespace

Count Count::of(const struct stat& st, std::uint64_t messages) {
    constexpr std::int64_t kSecond = 1'000'000'000;
    return {st.st_ino, static_cast<std::uint64_t>(st.st_size), st.st_mtim.tv_sec * kSecond + st.st_mtim.tv_nsec,
            messages};
}

bool Count::fits(const struct stat& st) const {
    const Count now = of(st, messages);
    return inode == now.inode && size == now.size && changed == now.changed;
}

Result<Journal> read_journal(int fd, const std::string& path) {
    auto text = read_header(fd, path);
    if (!text) return std::move(text).error();
    auto header = parse_header(*text);
    if (!header) return Journal{};
    std::string rest;
    if (header->journal.intent) {
        auto read = read_at(fd, path, kHeader, header->witness);
        if (!read) return std::move(read).error();
        rest = *std::move(read);
        header->journal.intent->witness = rest;
    }
    if (fnv1a64(std::string(header->summed) + rest) != header->sum) return Journal{};
    return std::move(header->journal);
}

Result<std::optional<Count>> read_count(int fd, const std::string& path) {
    auto text = read_header(fd, path);
    if (!text) return std::move(text).error();
    const auto header = parse_header(*text);
    if (!header || header->journal.intent || fnv1a64(header->summed) != header->sum) return std::optional<Count>();
    return header->journal.count;
}

Result<void> write_journal(Files& files, int fd, const std::string& path, const Journal& journal) {
    std::string text(kMagic);
    text += std::string(kVersion) + "\n";
    if (journal.count) {
        const Count& count = *journal.count;
        text += line("count", {count.inode, count.size, static_cast<std::uint64_t>(count.changed), count.messages});
    }
    std::string rest;
    if (journal.intent) {
        const Intent& intent = *journal.intent;
        text += line("append", {intent.inode, intent.size, intent.length, intent.witness.size()});
        rest = intent.witness;
    }
    text += line("sum", {fnv1a64(text + rest)});
    text.resize(kHeader, '\n');
    if (::lseek(fd, 0, SEEK_SET) < 0) return system_error(errno, "cannot write " + path);
    return files.write(fd, text + rest, path);
}

}  // namespace roost::mbox
