// Usage kept as counters in a dict: the authority of a store that several machines deliver to.
#pragma once

#include "base/fd.h"
#include "base/files.h"
#include "base/result.h"
#include "base/state_files.h"
#include "dict/dict.h"
#include "quota/limits.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// The counters of NAME, a user or "@domain", are kDictStorage and kDictMessages of the dict's user NAME, as decimal
// numbers. Whoever delivers adds to them. Where one is missing or no number, both are counted from the store and set.
//
// What could not be added leaves a mark, the file STATE/recount/NAME, whose text no other mark has, and NAME is to be
// counted anew. The mark goes once that is done, unless another one has taken its place.
//
// STATE/recount/.turns, which is empty, keeps the processes of a machine out of one another's way: a byte for each
// name, at a place that is hashed from it, is locked with fcntl(2) F_OFD_SETLKW. Whoever makes mail visible holds read
// locks, of the domain first, from before that until it is added or marked; a count that is not alone from its
// beginning takes a write lock before it is believed, so that nothing is visible then that the counters do not have
// yet, and until the counters are put right.
//
// Any thread.
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
    // Counts, and puts the counters right. What this machine delivers meanwhile is counted once; of what others do,
    // what becomes visible in the very moment between the count and its own addition may be counted twice.
    Result<Usage> recount(const std::string& name, const Counting& count);

    // The time in which mail becomes visible and is added.
    class Turn {
    public:
        // Adds to the counters of those of its names that have some. What cannot be added leaves marks.
        void add(std::span<const std::string> names, const Usage& more);

    private:
        friend class DictCounters;
        Turn(DictCounters& owner, Fd lock) : owner_(owner), lock_(std::move(lock)) {}
        DictCounters& owner_;
        Fd lock_;
    };
    // `names`: a domain before its user. Waits while one of them is counted alone.
    Turn begin(std::span<const std::string> names);

    // The name is to be counted anew.
    void doubt(const std::string& name);
    bool doubted(const std::string& name);
    // All names that are to be counted anew.
    Result<std::vector<std::string>> doubts() const { return marks_.names(); }
    // Counts a name anew that a mark is of, unless it has no counters: they are counted when they are asked for.
    Result<void> settle(const std::string& name, const Counting& count);

    // Unsets the counters of a user that is gone, and forgets a mark.
    Result<void> remove(const std::string& name);

private:
    enum class Lock { shared, alone };
    Result<Fd> lock(std::span<const std::string> names, Lock how);
    Result<void> correct(const std::string& name, const std::optional<Usage>& said, const Usage& counted);
    void mark(const std::string& name);

    Dict& dict_;
    StateFiles marks_;
};

// The number that a dict's value is; nothing if it is none, or negative.
std::optional<std::uint64_t> dict_number(const std::optional<std::string>& value);

}  // namespace roost
