// What is done once mail was delivered: the usage of its user goes into the clone, and counters that the delivery could
// not be added to are put right. No verdict waits for it, and none can change because of it.
#pragma once

#include "quota/outbox.h"
#include "store/clone_feed.h"
#include "store/instance.h"
#include "store/settle.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

namespace roost {

// How draining the outbox went.
struct Drained {
    enum class State {
        empty,   // nothing is left
        some,    // time was up, or some usage cannot be read for now
        failed,  // the dict or the user database is in trouble
    };
    State state = State::empty;
    std::vector<std::string> left;    // of the names that were read
    bool everybody = false;           // the usage of every user was published, or is still to be
    std::optional<Error> unreadable;  // of one of the users whose usage cannot be read
};

// Publishes what the outbox holds until it is empty, or until the deadline if there is one. Says in the log when
// trouble with the dict begins and when it ends, once for all processes. `read`: called each time the outbox was read,
// before any usage is: who gets mail from then on must be added anew.
Drained drain(Outbox::Drain& right, CloneFeed& feed, std::optional<Deadline> deadline,
              const std::function<void()>& read = {});

// For a process that is about to end: mail was delivered to `users`, or they were removed. Notes them. Unless roostd
// runs, which does the rest, it publishes what it can within quota-clone.timeout, or nothing if the dict failed moments
// ago; what is left stays in the outbox, safe from a power cut, for roostd or the next such process. Does nothing if
// the clone is off. Failures are logged.
void publish_before_end(Instance& instance, std::span<const std::string> users);

// For a process that serves for long: a thread of its own publishes, and it alone on this machine: the right to drain
// the outbox stays with it. The same thread settles doubts. All functions but start and stop: any thread.
class AfterDelivery {
public:
    // Asked for the instance in force whenever it is needed.
    using Current = std::function<std::shared_ptr<Instance>()>;
    // Called in the thread for each user that got mail and is watched, after it, be the clone on or off: the place for
    // warnings.
    using Watch = std::function<void(Instance& instance, const std::string& user)>;

    explicit AfterDelivery(Current current, Watch watch = {});
    ~AfterDelivery();  // NOLINT(bugprone-exception-escape): see there
    AfterDelivery(const AfterDelivery&) = delete;
    AfterDelivery& operator=(const AfterDelivery&) = delete;

    // Looks whether the last process lost names by a power cut, and starts the thread. Before the first delivery.
    void start();
    // Another instance is in force.
    void reloaded();
    // What became of a message, before it is told. Costs one write(2) for users that are not pending yet if the clone
    // is on, and nothing if neither it nor a watch wants to know.
    void delivered(std::span<const Verdict> verdicts);
    // Ends the thread, lets `watch` see whom it has not seen yet, tries once more within quota-clone.timeout, and
    // leaves the rest in the outbox. `clean`: nobody calls delivered() any more.
    void stop(bool clean);

private:
    using Clock = std::chrono::steady_clock;

    void run();
    void round(const std::shared_ptr<Instance>& instance);
    void publish(Instance& instance, Clone& clone);
    void settle(Instance& instance);
    void save(std::span<const std::string> users);
    void check(Instance& instance, Clone& clone);
    std::optional<bool> dict_was_emptied(Instance& instance, Clone& clone);
    void find_witness(Instance& instance);
    void watch(Instance& instance);
    bool any_noted();
    bool is_noted(const std::string& user);
    void take_right(bool wanted);
    void forget_noted();

    Current current_;
    Watch watch_;
    Outbox outbox_;
    Witnesses witnesses_;

    std::mutex mutex_;
    std::condition_variable wanted_;
    std::unordered_set<std::string> noted_;    // in the outbox since it was read last, if right_ is held
    std::unordered_set<std::string> unsaved_;  // that could not be written there
    std::vector<std::string> fresh_;           // for watch_
    bool dirty_ = false;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> marked_ = false;
    std::optional<Outbox::Drain> right_;
    std::thread thread_;

    // Of the thread alone.
    std::string dict_;              // the one that witnesses_ are of
    Clock::time_point next_;        // no round before
    Clock::time_point next_check_;  // whether the dict was emptied
    bool checked_ = false;          // that has been looked at since it became the dict
    Clock::time_point next_retry_;  // of users whose usage could not be read
    bool unreadable_ = false;
    std::chrono::milliseconds backoff_{0};
    Settler settler_;
    Clock::time_point settle_at_;
};

}  // namespace roost
