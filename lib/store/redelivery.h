// Which messages were delivered without the MTA learning of it, so that their
// second copies are not stored again.
#pragma once

#include "base/deadline.h"
#include "base/files.h"
#include "base/result.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace roost {

// Remembers deliveries by a key of envelope and content, each from the moment
// it begins until the MTA has shown that it read the verdict, and if the
// connection ended before that, for a while. Bounded: when it is full, the
// oldest of those with lost verdicts go first. Any thread.
class Redelivery {
public:
    using Clock = std::chrono::steady_clock;
    // Equal keys mean the same message to the same recipient. A key begins with
    // what stands for sender and recipient.
    using Key = std::string;

    // The connection by which a copy came. A second copy is a repetition only if
    // the first one's connection is gone: an MTA that still waits for the
    // verdict, or has it, has no reason to repeat.
    class Source {
    public:
        virtual ~Source() = default;
        virtual bool gone() const = 0;
    };

    // `window`: how long lost verdicts are remembered; 0: nothing is remembered
    // at all.
    Redelivery(std::chrono::milliseconds window, std::size_t capacity) : window_(window), capacity_(capacity) {}

    enum class Claim {
        fresh,      // deliver it, then call settle
        repeated,   // it was delivered before: answer so; then confirmed or lost, as
                    // after settle
        untracked,  // deliver it, and that is all
        busy,       // the first copy is still under way at the deadline
    };
    // After `fresh` and `repeated`, `source` must stay until the key is given
    // back by settle(false), confirmed or lost. A thread that claims several keys
    // does so in ascending order, so that none waits for another in a circle.
    Claim claim(const Key& key, const Source& source, Deadline deadline);
    void settle(const Key& key, bool delivered);

    // Whether a second copy may come whose key begins so: of a message whose
    // verdict was lost, or whose connection is gone.
    bool is_expected(std::string_view beginning) const;

    // The peer of `source` has read the verdict.
    void confirmed(const Key& key, const Source& source);
    // The connection ended before that, now.
    void lost(const Key& key, const Source& source);

    void set_window(std::chrono::milliseconds window);
    std::size_t size() const;

    // For a restart: writes what is remembered to a file, in place of an older
    // one, and reads it back. A file that is not there is nothing to remember;
    // damaged lines are passed over. It must be removed before anything else is
    // claimed.
    Result<void> save(Files& files, const std::string& path) const;
    Result<void> load(Files& files, const std::string& path);

private:
    enum class State { under_way, answered, lost };
    using Ages = std::multimap<Clock::time_point, Key>;
    struct Entry {
        State state = State::under_way;
        const Source* source = nullptr;  // unless lost
        Ages::iterator age;              // if lost
    };
    using Entries = std::map<Key, Entry, std::less<>>;

    void remember(const Key& key, Clock::time_point until);
    void drop_oldest();

    mutable std::mutex mutex_;
    std::condition_variable settled_;
    std::chrono::milliseconds window_;
    std::size_t capacity_;
    Entries entries_;
    Ages ages_;  // the lost ones, by the time until which they are remembered
};

}  // namespace roost
