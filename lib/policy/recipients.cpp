#include "policy/recipients.h"

#include "mail/address.h"

namespace roost::policy {

void Recipients::add(const std::string& message, std::string_view recipient, Clock::time_point now) {
    if (recipient.size() > kMaxAddress || capacity_ == 0) return;
    const std::lock_guard lock(mutex_);
    drop_expired(now);
    while (size_ >= capacity_) drop(std::string(ages_.front()));
    const auto [found, fresh] = entries_.try_emplace(message);
    Entry& entry = found->second;
    if (fresh) {
        entry.until = now + span_;
        entry.age = ages_.insert(ages_.end(), message);
    }
    if (entry.recipients.size() < kMostOfOne && entry.recipients.emplace(recipient).second) ++size_;
}

std::vector<std::string> Recipients::of(const std::string& message, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    drop_expired(now);
    const auto found = entries_.find(message);
    if (found == entries_.end()) return {};
    return {found->second.recipients.begin(), found->second.recipients.end()};
}

void Recipients::forget(const std::string& message) {
    const std::lock_guard lock(mutex_);
    drop(message);
}

std::size_t Recipients::size() const {
    const std::lock_guard lock(mutex_);
    return size_;
}

void Recipients::drop(const std::string& message) {
    const auto found = entries_.find(message);
    if (found == entries_.end()) return;
    size_ -= found->second.recipients.size();
    ages_.erase(found->second.age);
    entries_.erase(found);
}

void Recipients::drop_expired(Clock::time_point now) {
    while (!ages_.empty() && entries_.at(ages_.front()).until <= now) drop(std::string(ages_.front()));
}

}  // namespace roost::policy
