#include "store/unified.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "base/log.h"
#include "store/dict_counters.h"

namespace roost {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(500);
// How long the dict need not be asked again.
constexpr std::int64_t kFreshSeconds = 5;
constexpr std::size_t kLongest = 128;  // of a file

std::string key_of(const char* kind, const std::string& service) { return std::string(kind) + "/" + service; }

}  // namespace

Unified::Unified(Dict& dict, Files& files, const std::string& state, const std::vector<std::string>& services,
                 std::chrono::milliseconds max_age)
    : dict_(dict), known_(files, state, "unified"), max_age_(max_age) {
    for (const std::string& service : services) {
        keys_.push_back(key_of(kDictStorage, service));
        keys_.push_back(key_of(kDictMessages, service));
    }
}

std::optional<Unified::Known> Unified::remembered(const std::string& user) {
    auto text = known_.get(user, kLongest);
    if (!text) log(LogLevel::warning, text.error().text());
    if (!text || !*text) return std::nullopt;
    Known out;
    const char* at = (*text)->data();
    const char* end = at + (*text)->size();
    const auto take = [&](auto& number, char stop) {
        const auto [next, error] = std::from_chars(at, end, number);
        const bool good = error == std::errc{} && next != end && *next == stop;
        at = good ? next + 1 : end;
        return good;
    };
    if (!take(out.asked, ' ') || !take(out.usage.storage, ' ') || !take(out.usage.messages, '\n')) return std::nullopt;
    return out;
}

Unified::Elsewhere Unified::elsewhere(const std::string& user) {
    if (keys_.empty()) return {};
    const std::int64_t now = std::time(nullptr);
    const auto known = remembered(user);
    if (known && now >= known->asked && now - known->asked < kFreshSeconds) return {known->usage, {}, false};
    auto values = dict_.get(user, keys_, Deadline::in(kPatience));
    if (!values) {
        const bool usable = known && std::chrono::seconds(now - known->asked) <= max_age_;
        return {usable ? known->usage : Usage{}, std::move(values).error(), usable};
    }
    Usage sum;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
        const auto number = dict_number((*values)[i]);
        if (!number && (*values)[i])
            log(LogLevel::warning, user + ": " + keys_[i] + " in " + dict_.name() + " is no number and counts as 0");
        std::uint64_t& part = i % 2 == 0 ? sum.storage : sum.messages;
        if (__builtin_add_overflow(part, number.value_or(0), &part)) part = UINT64_MAX;
    }
    const std::string text =
        std::to_string(now) + " " + std::to_string(sum.storage) + " " + std::to_string(sum.messages) + "\n";
    if (auto done = known_.put(user, text); !done) log(LogLevel::warning, done.error().text());
    return {sum, {}, false};
}

Result<void> Unified::report(const std::string& user, const std::string& service, std::optional<std::uint64_t> storage,
                             std::optional<std::uint64_t> messages) {
    DictTransaction transaction{user, {}};
    const auto set = [&](const char* kind, const std::optional<std::uint64_t>& number) {
        if (number)
            transaction.changes.push_back({DictChange::Kind::set, key_of(kind, service), std::to_string(*number), 0});
    };
    set(kDictStorage, storage);
    set(kDictMessages, messages);
    auto done = dict_.commit({&transaction, 1}, Deadline::in(kPatience));
    // This machine's next admission asks anew; of the mail's own share it needs nothing.
    const std::string key = key_of(kDictStorage, service);
    if (std::find(keys_.begin(), keys_.end(), key) == keys_.end()) return done;
    if (auto gone = known_.remove(user); done && !gone) return std::move(gone).error();
    return done;
}

Result<void> Unified::forget(const std::string& user, const std::string& service) {
    auto gone = known_.remove(user);
    DictTransaction transaction{user, {}};
    for (const char* kind : {kDictStorage, kDictMessages})
        transaction.changes.push_back({DictChange::Kind::unset, key_of(kind, service), {}, 0});
    auto done = dict_.commit({&transaction, 1}, Deadline::in(kPatience));
    if (done && !gone) return std::move(gone).error();
    return done;
}

}  // namespace roost
