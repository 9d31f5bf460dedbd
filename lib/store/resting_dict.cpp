#include "store/resting_dict.h"

namespace roost {

std::optional<Error> RestingDict::resting() const {
    if (Clock::now().time_since_epoch().count() >= until_) return std::nullopt;
    return Error{Outcome::trouble, name(), "it failed a moment ago", "it is asked again in some seconds", 0};
}

template <class T>
Result<T> RestingDict::watched(Result<T> result) {
    if (!result) until_ = (Clock::now() + rest_).time_since_epoch().count();
    return result;
}

Result<std::vector<std::optional<std::string>>> RestingDict::get(std::string_view user,
                                                                 std::span<const std::string> keys, Deadline deadline) {
    if (auto error = resting()) return *std::move(error);
    return watched(dict_->get(user, keys, deadline));
}

Result<void> RestingDict::commit(std::span<const DictTransaction> transactions, Deadline deadline) {
    if (auto error = resting()) return *std::move(error);
    return watched(dict_->commit(transactions, deadline));
}

Result<void> RestingDict::each(std::string_view key,
                               const std::function<bool(std::string_view user, std::string_view value)>& visit,
                               Deadline deadline) {
    if (auto error = resting()) return *std::move(error);
    return watched(dict_->each(key, visit, deadline));
}

}  // namespace roost
