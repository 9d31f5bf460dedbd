// A dict that is not asked again at once after it failed.
#pragma once

#include "dict/dict.h"

#include <atomic>
#include <memory>

namespace roost {

// Passes calls on to a dict, and fails at once for some seconds after a call that failed: of deliveries in a row one
// alone waits for a server that does not answer. Any thread.
class RestingDict : public Dict {
public:
    RestingDict(std::unique_ptr<Dict> dict, std::chrono::milliseconds rest) : dict_(std::move(dict)), rest_(rest) {}

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view key,
                      const std::function<bool(std::string_view user, std::string_view value)>& visit,
                      Deadline deadline) override;
    const std::string& name() const override { return dict_->name(); }

private:
    using Clock = Deadline::Clock;
    template <class T>
    Result<T> watched(Result<T> result);
    std::optional<Error> resting() const;

    std::unique_ptr<Dict> dict_;
    const std::chrono::milliseconds rest_;
    std::atomic<Clock::rep> until_{0};  // of the steady clock: not asked before
};

}  // namespace roost
