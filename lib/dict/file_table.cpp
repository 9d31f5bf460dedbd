#include "dict/file_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

namespace roost {
namespace {

constexpr char kEscape = '\x01';
constexpr std::array<std::pair<char, char>, 5> kEscapes{
    {{'\0', '0'}, {kEscape, '1'}, {'\t', 't'}, {'\r', 'r'}, {'\n', 'n'}}};

void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        const auto* const found =
            std::find_if(kEscapes.begin(), kEscapes.end(), [&](const auto& escape) { return escape.first == c; });
        if (found == kEscapes.end())
            out += c;
        else
            out += {kEscape, found->second};
    }
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != kEscape) {
            out += text[i];
            continue;
        }
        if (++i == text.size()) break;
        const auto* const found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                               [&](const auto& escape) { return escape.second == text[i]; });
        out += found == kEscapes.end() ? text[i] : found->first;
    }
    return out;
}

// The next line of `text`, without its end, which is taken from it; nullopt: no whole line is left.
std::optional<std::string_view> take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(end + 1);
    return line;
}

// The hash of strings that Dovecot has from glib, and that has it from the ASU compiler book: PJW.
std::uint32_t hash_of(std::string_view key) {
    std::uint32_t hash = 0;
    for (const char c : key) {
        hash = (hash << 4U) + static_cast<unsigned char>(c);
        const std::uint32_t high = hash & 0xf0000000U;
        hash = (hash ^ high >> 24U) & ~high;
    }
    return hash;
}

// How many buckets Dovecot gives to `count` entries: the first prime of its list above the power of two below.
std::size_t buckets_for(std::size_t count) {
    constexpr std::array<std::size_t, 18> kPrimes{17,   37,    67,    131,   257,    521,    1031,   2053,    4099,
                                                  8209, 16411, 32771, 65537, 131101, 262147, 524309, 1048583, 2097169};
    const auto width = static_cast<std::size_t>(std::bit_width(count));
    return width <= 4 ? kPrimes.front() : kPrimes.at(std::min(width - 4, kPrimes.size() - 1));
}

}  // namespace

FileTable FileTable::parse(std::string_view text) {
    FileTable out;
    for (;;) {
        const auto key = take_line(text);
        const auto value = key ? take_line(text) : std::nullopt;
        if (!value) return out;
        out.set(unescaped(*key), unescaped(*value));
    }
}

std::string FileTable::text() const {
    std::string out;
    for (const auto& entries : buckets_) {
        for (const auto& [key, value] : entries) {
            append_escaped(out, key);
            out += '\n';
            append_escaped(out, value);
            out += '\n';
        }
    }
    return out;
}

std::vector<FileTable::Entry>& FileTable::bucket(std::string_view key) {
    return buckets_[hash_of(key) % buckets_.size()];
}

const FileTable::Entry* FileTable::find(std::string_view key) const {
    for (const Entry& entry : buckets_[hash_of(key) % buckets_.size()])
        if (entry.first == key) return &entry;
    return nullptr;
}

std::optional<std::string> FileTable::get(std::string_view key) const {
    const Entry* const found = find(key);
    return found == nullptr ? std::optional<std::string>() : found->second;
}

void FileTable::set(const std::string& key, std::string value) {
    for (Entry& entry : bucket(key)) {
        if (entry.first == key) {
            entry.second = std::move(value);
            return;
        }
    }
    // Dovecot's table grows at collisions alone.
    if (!bucket(key).empty()) resize(true);
    bucket(key).emplace_back(key, std::move(value));
    ++count_;
}

void FileTable::unset(const std::string& key) {
    count_ -= std::erase_if(bucket(key), [&](const Entry& entry) { return entry.first == key; });
    resize(false);
}

void FileTable::resize(bool grow) {
    if (count_ * 10 > buckets_.size() * 3 && count_ < buckets_.size() * 2) return;
    const std::size_t size = std::max(buckets_for(count_ + 1), kFewest);
    if (size == buckets_.size() || (grow && size < buckets_.size())) return;
    std::vector<std::vector<Entry>> old(size);
    old.swap(buckets_);
    for (auto& entries : old)
        for (Entry& entry : entries) bucket(entry.first).push_back(std::move(entry));
}

bool FileTable::apply(const DictChange& change) {
    switch (change.kind) {
        case DictChange::Kind::set:
            set(change.key, change.value);
            return true;
        case DictChange::Kind::unset:
            unset(change.key);
            return true;
        case DictChange::Kind::add:
            break;
    }
    const auto old = get(change.key);
    if (!old) return true;
    std::int64_t sum = 0;
    const auto [end, error] = std::from_chars(old->data(), old->data() + old->size(), sum);
    if (error != std::errc() || end != old->data() + old->size()) return false;
    if (__builtin_add_overflow(sum, change.diff, &sum)) return false;
    set(change.key, std::to_string(sum));
    return true;
}

}  // namespace roost
