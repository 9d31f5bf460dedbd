#include "db/group_writer.h"

#include <utility>

namespace roost {

Result<void> GroupWriter::write(const std::string& task, const Work& work) {
    Request own{task, work, {}};
    std::unique_lock guard(mutex_);
    waiting_.push_back(&own);
    changed_.wait(guard, [&] { return own.done || !committing_; });
    if (own.done) return std::move(own.result);

    committing_ = true;
    const std::vector<Request*> group = std::exchange(waiting_, {});
    guard.unlock();
    commit(group);
    guard.lock();
    for (Request* request : group) request->done = true;
    committing_ = false;
    guard.unlock();
    changed_.notify_all();
    return std::move(own.result);
}

void GroupWriter::commit(const std::vector<Request*>& group) noexcept {
    if (group.size() > 1) {
        bool begun = false;
        auto together = db_.write("write for several users", [&](soci::session& sql) -> Result<void> {
            begun = true;
            for (const Request* request : group)
                if (auto done = request->work(sql); !done) return done;
            return {};
        });
        if (together) return;
        if (!begun) {
            // As when another program keeps the database locked: each by itself would wait for that once more.
            for (Request* request : group) {
                Error error = together.error();
                error.what = "cannot " + request->task + " in " + db_.path();
                request->result = std::move(error);
            }
            return;
        }
    }
    for (Request* request : group) request->result = db_.write(request->task, request->work);
}

}  // namespace roost
