#include "quota/clone.h"

#include <array>
#include <charconv>
#include <vector>

namespace roost {
namespace {

const std::array<std::string, 2> kKeys{kDictStorage, kDictMessages};

// All unsets stand before all sets: where both keys are columns of one row, an unset removes the row with both.
DictTransaction transaction_of(const CloneEntry& entry, bool unset) {
    DictTransaction out;
    out.user = entry.user;
    if (unset || !entry.usage)
        for (const std::string& key : kKeys) out.changes.push_back({DictChange::Kind::unset, key, {}, 0});
    if (!entry.usage) return out;
    out.changes.push_back({DictChange::Kind::set, kKeys[0], std::to_string(entry.usage->storage), 0});
    out.changes.push_back({DictChange::Kind::set, kKeys[1], std::to_string(entry.usage->messages), 0});
    return out;
}

}  // namespace

Result<std::unique_ptr<Clone>> Clone::make(const Config& config) {
    const std::string_view uri = config.text("quota-clone.dict");
    if (uri.empty()) return std::unique_ptr<Clone>();
    auto dict = make_dict(uri);
    if (!dict) {
        Error error = std::move(dict).error();
        error.what = std::string(config.origin("quota-clone.dict")) + ": quota-clone.dict: " + error.what;
        return error;
    }
    return std::make_unique<Clone>(*std::move(dict), config.flag("quota-clone.unset"),
                                   config.duration("quota-clone.timeout"));
}

Result<void> Clone::publish(std::span<const CloneEntry> entries, Deadline deadline) {
    if (entries.empty()) return {};
    std::vector<DictTransaction> transactions;
    transactions.reserve(entries.size());
    for (const CloneEntry& entry : entries) transactions.push_back(transaction_of(entry, unset_));
    return dict_->commit(transactions, deadline);
}

Result<std::optional<Usage>> Clone::read(std::string_view user, Deadline deadline) {
    auto values = dict_->get(user, kKeys, deadline);
    if (!values) return std::move(values).error();
    std::array<std::optional<std::uint64_t>, 2> numbers;
    for (std::size_t i = 0; i < numbers.size() && i < values->size(); ++i)
        if (const auto& value = (*values)[i]) numbers.at(i) = clone_number(*value);
    if (!numbers[0] || !numbers[1]) return std::optional<Usage>();
    return std::optional(Usage{*numbers[0], *numbers[1]});
}

std::optional<std::uint64_t> clone_number(std::string_view value) {
    std::uint64_t number = 0;
    const char* const end = value.data() + value.size();
    const auto read = std::from_chars(value.data(), end, number);
    if (value.empty() || read.ptr != end || read.ec != std::errc()) return std::nullopt;
    return number;
}

}  // namespace roost
