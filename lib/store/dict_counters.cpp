#include "store/dict_counters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <vector>

#include "base/log.h"

namespace roost {
namespace {

// How long an answer is waited for: a delivery waits with it.
constexpr auto kPatience = std::chrono::seconds(2);
// How often a count is made anew because mail came meanwhile.
constexpr int kTries = 5;

const std::array<std::string, 2> kKeys{kDictStorage, kDictMessages};

std::int64_t as_signed(std::uint64_t number) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::min(number, kMost));
}

DictChange addition(const std::string& key, std::int64_t diff) { return {DictChange::Kind::add, key, {}, diff}; }

}  // namespace

std::optional<std::uint64_t> dict_number(const std::optional<std::string>& value) {
    if (!value) return std::nullopt;
    std::uint64_t number = 0;
    const char* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, number);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return number;
}

Result<std::optional<Usage>> DictCounters::peek(const std::string& name) {
    auto values = dict_.get(name, kKeys, Deadline::in(kPatience));
    if (!values) return std::move(values).error();
    const auto storage = dict_number((*values)[0]);
    const auto messages = dict_number((*values)[1]);
    if (!storage || !messages) return std::optional<Usage>();
    return std::optional(Usage{*storage, *messages});
}

Result<void> DictCounters::set(const std::string& name, const Usage& usage) {
    const DictTransaction transaction{name,
                                      {{DictChange::Kind::set, kKeys[0], std::to_string(usage.storage), 0},
                                       {DictChange::Kind::set, kKeys[1], std::to_string(usage.messages), 0}}};
    return dict_.commit({&transaction, 1}, Deadline::in(kPatience));
}

void DictCounters::mark(const std::string& name) {
    if (auto done = marks_.put(name, {}); !done)
        log(LogLevel::error,
            "the usage of " + name + " is counted wrongly until it is recounted: " + done.error().text());
}

bool DictCounters::marked(const std::string& name) {
    auto text = marks_.get(name, 0);
    return text && *text;
}

// Counts while nobody else adds, as far as that can be told, so that the count can be set.
Result<Usage> DictCounters::settle(const std::string& name, const Counting& count) {
    auto before = peek(name);
    for (int i = 0;; ++i) {
        if (!before) return std::move(before).error();
        auto counted = count();
        if (!counted) return counted;
        auto after = peek(name);
        if (!after) return std::move(after).error();
        if (*before != *after && i < kTries) {
            before = std::move(after);
            continue;
        }
        // The difference: what is added in this moment stays.
        Result<void> done;
        if (*after) {
            const DictTransaction transaction{
                name,
                {addition(kKeys[0], as_signed(counted->storage) - as_signed((*after)->storage)),
                 addition(kKeys[1], as_signed(counted->messages) - as_signed((*after)->messages))}};
            if (**after != *counted) done = dict_.commit({&transaction, 1}, Deadline::in(kPatience));
        } else {
            done = set(name, *counted);
        }
        if (!done) return std::move(done).error();
        return counted;
    }
}

Result<Usage> DictCounters::recount(const std::string& name, const Counting& count) {
    // The mark goes first: what leaves one from here on may not be seen by the count.
    auto marked = marks_.remove(name);
    if (!marked) return std::move(marked).error();
    auto counted = settle(name, count);
    if (!counted && *marked) mark(name);
    return counted;
}

Result<Usage> DictCounters::usage(const std::string& name, const Counting& count) {
    auto text = marks_.get(name, 0);
    if (!text) return std::move(text).error();
    if (!*text) {
        auto said = peek(name);
        if (!said) return std::move(said).error();
        if (*said) return **said;
    }
    return recount(name, count);
}

void DictCounters::add(std::span<const std::string> names, const Usage& more) {
    std::vector<DictTransaction> transactions;
    for (const std::string& name : names)
        transactions.push_back(
            {name, {addition(kKeys[0], as_signed(more.storage)), addition(kKeys[1], as_signed(more.messages))}});
    auto done = dict_.commit(transactions, Deadline::in(kPatience));
    if (done) return;
    // Some of it may have been added; nobody knows.
    log(LogLevel::warning, "to be counted anew later: " + done.error().text());
    for (const std::string& name : names) mark(name);
}

}  // namespace roost
