// Usage kept as counters in a dict: the authority of a store that several machines deliver to.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "base/state_files.h"
#include "dict/dict.h"
#include "quota/limits.h"

#include <functional>
#include <optional>
#include <span>
#include <string>

namespace roost {

// The counters of NAME, a user or "@domain", are kDictStorage and kDictMessages of the dict's user NAME, as decimal
// numbers. Whoever delivers adds to them. Where one is missing or no number, both are counted from the store and set.
// What could not be added leaves a mark, an empty file STATE/recount/NAME, and NAME is counted anew when this machine
// next asks for it. Any thread.
class DictCounters {
public:
    // Looks at the store, or sums a domain's users.
    using Counting = std::function<Result<Usage>()>;

    // The dict must outlive it. `state`: the state directory.
    DictCounters(Dict& dict, Files& files, const std::string& state) : dict_(dict), marks_(files, state, "recount") {}

    // What the counters say; counted and set if they are missing or marked. An Error, temporary, if the dict cannot be
    // asked: then nobody knows.
    Result<Usage> usage(const std::string& name, const Counting& count);
    // What the counters say; nothing if one is missing.
    Result<std::optional<Usage>> peek(const std::string& name);
    // Counts, and puts the counters right. Deliveries meanwhile are noticed, and counted anew or left as they are: what
    // becomes visible in the very moment between the count and its own addition may be counted twice.
    Result<Usage> recount(const std::string& name, const Counting& count);
    // Adds to the counters of each name that has some.
    void add(std::span<const std::string> names, const Usage& more);
    // The name is to be counted anew.
    void mark(const std::string& name);
    bool marked(const std::string& name);

private:
    Result<void> set(const std::string& name, const Usage& usage);
    Result<Usage> settle(const std::string& name, const Counting& count);

    Dict& dict_;
    StateFiles marks_;
};

// The number that a dict's value is; nothing if it is none, or negative.
std::optional<std::uint64_t> dict_number(const std::optional<std::string>& value);

}  // namespace roost
