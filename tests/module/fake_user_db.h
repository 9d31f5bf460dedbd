// A user database in memory.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/text.h"
#include "user/user_db.h"

namespace roost::test {

// Holds records that a test puts in. Any thread; locks are granted at once.
class FakeUserDb : public UserDb {
public:
    Result<std::optional<UserRecord>> find(std::string_view name) override {
        const std::lock_guard guard(mutex_);
        const auto found = records.find(lower(name));
        if (found == records.end()) return std::optional<UserRecord>();
        return std::optional<UserRecord>(found->second);
    }
    Result<bool> add_allocation(const UserRecord& seen, const Settings& allocation) override {
        const std::lock_guard guard(mutex_);
        const auto found = records.find(seen.name);
        if (found == records.end() || found->second.version != seen.version) return false;
        found->second.allocation = allocation;
        ++found->second.version;
        return true;
    }
    Result<void> overwrite_allocation(std::string_view name, const Settings& allocation) override {
        const std::lock_guard guard(mutex_);
        UserRecord& record = records[std::string(name)];
        record.allocation = allocation;
        ++record.version;
        return {};
    }
    Result<std::unique_ptr<Lock>> lock(std::string_view /*name*/, Deadline /*deadline*/) override {
        return std::make_unique<Lock>();
    }
    Result<std::uint32_t> own_number(std::string_view pool, std::string_view name, IdRange range) override {
        const std::lock_guard guard(mutex_);
        std::map<std::string, std::uint32_t>& given = numbers[std::string(pool)];
        const auto next = static_cast<std::uint32_t>(range.from + given.size());
        const std::uint32_t number = given.emplace(std::string(name), next).first->second;
        if (number > range.to) return config_error(std::string(pool), "the range is exhausted", "widen it");
        return number;
    }

    std::map<std::string, UserRecord> records;
    std::map<std::string, std::map<std::string, std::uint32_t>> numbers;  // by pool and name

private:
    std::mutex mutex_;
};

}  // namespace roost::test
