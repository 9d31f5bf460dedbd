// A moment by which waiting must end.
#pragma once

#include <algorithm>
#include <chrono>

namespace roost {

// A point on the steady clock. A value: copy it freely; any thread.
class Deadline {
public:
    using Clock = std::chrono::steady_clock;

    static Deadline in(std::chrono::milliseconds span) { return Deadline(Clock::now() + span); }

    // What is left, never negative.
    std::chrono::milliseconds remaining() const {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(at_ - Clock::now());
        return std::max(left, std::chrono::milliseconds(0));
    }
    bool expired() const { return Clock::now() >= at_; }

    // The earlier of this one and one `span` from now.
    Deadline at_most(std::chrono::milliseconds span) const { return Deadline(std::min(at_, Clock::now() + span)); }

private:
    explicit Deadline(Clock::time_point at) : at_(at) {}
    Clock::time_point at_;
};

}  // namespace roost
