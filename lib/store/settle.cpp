#include "store/settle.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace roost {
namespace {

using std::chrono::milliseconds;

// How often it is looked for new doubts, and again for those that could not be settled.
constexpr milliseconds kLook{1000};
constexpr milliseconds kLookAgain{60'000};
constexpr milliseconds kFirstBackoff{1000};
constexpr milliseconds kLongestBackoff{10'000};
// Of the thread's time it takes at most half, in pieces of so much or of one count.
constexpr milliseconds kPiece{50};

}  // namespace

void settle_usage(Instance& instance, const std::string& user) {
    if (!instance.accounts().settles()) return;
    auto record = instance.db().find(user);
    if (record && !*record) return;
    auto found = record ? User::make(instance.config(), **std::move(record)) : Result<User>(std::move(record).error());
    if (found) {
        instance.accounts().settle(*found);
    } else {
        log(LogLevel::warning, found.error().text());
    }
}

Result<bool> settle_doubt(Instance& instance, const std::string& name) {
    if (name.starts_with('@')) return instance.accounts().settle_doubt(name, nullptr);
    auto record = instance.db().find(name);
    if (!record && record.error().outcome != Outcome::misconfigured) return std::move(record).error();
    if (record && !*record) return instance.accounts().settle_doubt(name, nullptr);
    auto user = record ? User::make(instance.config(), **std::move(record)) : Result<User>(std::move(record).error());
    if (user) return instance.accounts().settle_doubt(name, &*user);
    log(LogLevel::warning, name + " cannot be counted anew now: " + user.error().text());
    return false;
}

Settler::Clock::time_point Settler::work(Instance& instance, const std::atomic<bool>& stop) {
    const Clock::time_point begin = Clock::now();
    if (begin < next_) return next_;
    if (names_.empty()) {
        auto doubts = instance.accounts().doubts();
        if (!doubts) {
            log(LogLevel::warning, doubts.error().text());
            return next_ = begin + kLookAgain;
        }
        if (doubts->empty()) return next_ = begin + kLook;
        names_ = *std::move(doubts);
    }
    while (!names_.empty() && !stop && Clock::now() < begin + kPiece) {
        auto settled = settle_doubt(instance, names_.back());
        if (!settled) {
            log(LogLevel::debug, "to be counted anew later: " + settled.error().text());
            backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLongestBackoff);
            return next_ = Clock::now() + backoff_;
        }
        backoff_ = milliseconds(0);
        ++(*settled ? settled_ : unsettled_);
        names_.pop_back();
    }
    const Clock::time_point now = Clock::now();
    if (!names_.empty()) return next_ = now + (now - begin);
    if (settled_ > 0)
        log(LogLevel::info, "counted anew, since deliveries could not be added to them: " + std::to_string(settled_) +
                                " users and domains");
    next_ = now + (unsettled_ > 0 ? kLookAgain : kLook);
    settled_ = unsettled_ = 0;
    return next_;
}

}  // namespace roost
