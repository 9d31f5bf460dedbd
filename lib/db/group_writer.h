// Transactions of many threads, committed together.
#pragma once

#include "db/database.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace roost {

// Gathers what threads want written to a database while an earlier commit waits for the disk, and writes it in one
// transaction: with many writers the disk is waited for once, not once for each. Any thread.
class GroupWriter {
public:
    using Work = std::function<Result<void>(soci::session&)>;

    // `db` outlives the writer and is used by nobody else meanwhile.
    explicit GroupWriter(Database& db) : db_(db) {}

    // As Database::write(); `work` is called by whichever thread commits, and once more, alone, if the transaction that
    // it shared did not succeed. So no one's failure is another's, but that no transaction could begin.
    Result<void> write(const std::string& task, const Work& work);

private:
    struct Request {
        const std::string& task;
        const Work& work;
        Result<void> result;
        bool done = false;
    };
    // What it throws would leave the others waiting for ever.
    void commit(const std::vector<Request*>& group) noexcept;

    Database& db_;
    std::mutex mutex_;  // guards all below
    std::condition_variable changed_;
    std::vector<Request*> waiting_;
    bool committing_ = false;
};

}  // namespace roost
