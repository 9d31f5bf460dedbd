// How many deliveries to one user are under way.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace roost {

// Counts. Any thread.
class UserSlots {
public:
    // One counted delivery, until it is destroyed; or none.
    class Slot {
    public:
        Slot() = default;
        Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)), user_(std::move(other.user_)) {}
        Slot& operator=(Slot&& other) noexcept {
            std::swap(slots_, other.slots_);
            std::swap(user_, other.user_);
            return *this;
        }
        Slot(const Slot&) = delete;
        Slot& operator=(const Slot&) = delete;
        ~Slot() {
            if (slots_ != nullptr) slots_->give_back(user_);
        }
        explicit operator bool() const { return slots_ != nullptr; }
        const std::string& user() const { return user_; }

    private:
        friend class UserSlots;
        Slot(UserSlots& slots, std::string user) : slots_(&slots), user_(std::move(user)) {}
        UserSlots* slots_ = nullptr;
        std::string user_;
    };

    // None, if the user has `limit` of them already.
    Slot take(const std::string& user, std::size_t limit) {
        const std::lock_guard lock(mutex_);
        std::size_t& count = counts_[user];
        if (count >= limit) {
            if (count == 0) counts_.erase(user);
            return {};
        }
        ++count;
        return {*this, user};
    }

private:
    void give_back(const std::string& user) {
        const std::lock_guard lock(mutex_);
        const auto found = counts_.find(user);
        if (--found->second == 0) counts_.erase(found);
    }

    std::mutex mutex_;
    std::unordered_map<std::string, std::size_t> counts_;
};

}  // namespace roost
