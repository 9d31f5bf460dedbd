// Which recipients each message has got so far: what one request about a message must know of the earlier ones.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace roost::policy {

// Bounded: messages are forgotten after a while, and the oldest first when there are too many. Any thread.
class Recipients {
public:
    using Clock = std::chrono::steady_clock;

    // `capacity`: how many recipients to remember in all; `span`: for how long after a message's first one.
    Recipients(std::size_t capacity, std::chrono::milliseconds span) : capacity_(capacity), span_(span) {}

    // More than this many are not remembered of one message, nor addresses that are too long for one.
    static constexpr std::size_t kMostOfOne = 1000;

    // `message` names it among all messages of all clients.
    void add(const std::string& message, std::string_view recipient, Clock::time_point now = Clock::now());
    // Each once, in alphabetical order.
    std::vector<std::string> of(const std::string& message, Clock::time_point now = Clock::now());
    void forget(const std::string& message);
    // How many are remembered.
    std::size_t size() const;

private:
    struct Entry {
        std::set<std::string, std::less<>> recipients;
        Clock::time_point until;
        std::list<std::string>::iterator age;
    };
    void drop(const std::string& message);
    void drop_expired(Clock::time_point now);

    const std::size_t capacity_;
    const std::chrono::milliseconds span_;
    mutable std::mutex mutex_;
    std::unordered_map<std::string, Entry> entries_;
    std::list<std::string> ages_;  // messages, the oldest first
    std::size_t size_ = 0;
};

}  // namespace roost::policy
