#include "store/redelivery.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace roost {
namespace {

// A file of more than this was not written by us.
constexpr std::size_t kMaxFile = 64UL * 1024 * 1024;

std::string hex(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (const char c : bytes) {
        const auto u = static_cast<unsigned char>(c);
        out += kDigits[u >> 4];
        out += kDigits[u & 15];
    }
    return out;
}

// Empty if `text` is no sequence of bytes in hexadecimal.
std::string unhex(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        unsigned byte = 0;
        const char* const end = text.data() + i + 2;
        if (std::from_chars(text.data() + i, end, byte, 16).ptr != end) return {};
        out += static_cast<char>(byte);
    }
    return text.size() % 2 == 0 ? out : std::string();
}

}  // namespace

Redelivery::Claim Redelivery::claim(const Key& key, const Source& source, Deadline deadline) {
    std::unique_lock lock(mutex_);
    if (window_.count() == 0) return Claim::untracked;
    while (true) {
        while (!ages_.empty() && ages_.begin()->first <= Clock::now()) drop_oldest();
        const auto found = entries_.find(key);
        if (found == entries_.end()) {
            if (entries_.size() >= capacity_) {
                if (ages_.empty()) return Claim::untracked;
                drop_oldest();
            }
            entries_[key] = {State::under_way, &source, ages_.end()};
            return Claim::fresh;
        }
        Entry& entry = found->second;
        if (entry.state == State::lost) {
            ages_.erase(entry.age);
            entry = {State::answered, &source, ages_.end()};
            return Claim::repeated;
        }
        // Whoever sends it twice by one connection means two messages.
        if (entry.source == &source || !entry.source->gone()) return Claim::untracked;
        // The first copy's connection has ended, but whoever serves it has yet to
        // notice.
        if (entry.state == State::answered) {
            entry.source = &source;
            return Claim::repeated;
        }
        if (settled_.wait_for(lock, deadline.remaining()) == std::cv_status::timeout) return Claim::busy;
    }
}

bool Redelivery::is_expected(std::string_view beginning) const {
    const std::lock_guard lock(mutex_);
    for (auto each = entries_.lower_bound(beginning); each != entries_.end() && each->first.starts_with(beginning);
         ++each) {
        const Entry& entry = each->second;
        if (entry.state == State::lost ? entry.age->first > Clock::now() : entry.source->gone()) return true;
    }
    return false;
}

void Redelivery::settle(const Key& key, bool delivered) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(key);
        if (found == entries_.end()) return;
        if (delivered) {
            found->second.state = State::answered;
        } else {
            entries_.erase(found);
        }
    }
    settled_.notify_all();
}

void Redelivery::confirmed(const Key& key, const Source& source) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found != entries_.end() && found->second.source == &source) entries_.erase(found);
}

void Redelivery::lost(const Key& key, const Source& source) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.source != &source) return;
    entries_.erase(found);
    if (window_.count() > 0) remember(key, Clock::now() + window_);
}

void Redelivery::set_window(std::chrono::milliseconds window) {
    const std::lock_guard lock(mutex_);
    window_ = window;
}

std::size_t Redelivery::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

void Redelivery::remember(const Key& key, Clock::time_point until) {
    entries_[key] = {State::lost, nullptr, ages_.emplace(until, key)};
}

void Redelivery::drop_oldest() {
    entries_.erase(ages_.begin()->second);
    ages_.erase(ages_.begin());
}

Result<void> Redelivery::save(Files& files, const std::string& path) const {
    std::string text;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [key, entry] : entries_) {
            if (entry.state == State::under_way) continue;
            const auto left = entry.state == State::lost ? entry.age->first - Clock::now() : window_;
            const auto until = std::chrono::system_clock::now().time_since_epoch() + left;
            const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(until);
            text += std::to_string(seconds.count()) + " " + hex(key) + "\n";
        }
    }
    const DirRef here{AT_FDCWD, {}};
    if (text.empty()) return files.unlink(here, path);
    const std::string draft = path + ".new";
    auto fd = files.open(here, draft, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!fd) return std::move(fd).error();
    if (auto done = files.write(fd->get(), text, draft); !done) return done;
    return files.rename(here, draft, here, path);
}

Result<void> Redelivery::load(Files& files, const std::string& path) {
    const DirRef here{AT_FDCWD, {}};
    auto text = files.read_small(here, path, kMaxFile);
    if (!text && text.error().sys == ENOENT) return {};
    if (!text) return std::move(text).error();
    {
        const std::lock_guard lock(mutex_);
        using std::chrono::duration_cast, std::chrono::seconds;
        const auto now = duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch());
        const auto window = std::chrono::ceil<seconds>(window_);
        std::string_view rest = *text;
        while (!rest.empty() && entries_.size() < capacity_) {
            const std::string_view line = rest.substr(0, rest.find('\n'));
            rest.remove_prefix(std::min(line.size() + 1, rest.size()));
            const std::size_t blank = std::min(line.find(' '), line.size());
            std::int64_t until = 0;
            std::from_chars(line.data(), line.data() + blank, until);
            const Key key = blank < line.size() ? unhex(line.substr(blank + 1)) : Key();
            if (key.empty() || until <= now.count() || entries_.contains(key)) continue;
            const seconds left(std::min<std::int64_t>(until - now.count(), window.count()));
            remember(key, Clock::now() + left);
        }
    }
    return {};
}

}  // namespace roost
