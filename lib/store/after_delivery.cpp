#include "store/after_delivery.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

using std::chrono::milliseconds, std::chrono::seconds;

// Deliveries that follow each other this closely are published together.
constexpr milliseconds kGather{100};
// How often names are looked for that other processes left.
constexpr milliseconds kRound{1000};
constexpr milliseconds kFirstBackoff{1000};
constexpr milliseconds kLongestBackoff{60'000};
// A process that ends soon leaves a dict alone for so long after a failure, so that an outage costs few of them time.
constexpr milliseconds kLeftAlone{10'000};
// Publishing takes at most one part in so many of a processor's time, as long as it lags by no more than kLongestPause:
// under load each user's deliveries come together in fewer publications.
constexpr int kPart = 100;
constexpr milliseconds kLongestPause{5000};
// How often it is looked whether the dict was emptied, and which part of the time republishing everybody may take.
constexpr milliseconds kCheck{10'000};
constexpr int kCheckPart = 10;
constexpr seconds kCheckTime{5};

milliseconds thread_time() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return milliseconds(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

void log_unreadable(const Error& error) {
    log(LogLevel::warning, "some usage cannot be read and goes into the clone later: " + error.text());
}

std::string state_dir(const Instance& instance) { return std::string(instance.config().text("store.state")); }

}  // namespace

Drained drain(Outbox::Drain& right, CloneFeed& feed, std::optional<Deadline> deadline,
              const std::function<void()>& read) {
    Drained out;
    const auto fail = [&](const Error& error) {
        log(LogLevel::warning, "the clone: " + error.text());
        out.state = Drained::State::failed;
        return out;
    };
    while (true) {
        auto content = right.read();
        if (!content) return fail(content.error());
        if (read) read();
        if (content->empty()) return out;
        CloneFeed::Report report = feed.publish(*content, deadline);
        out.everybody = out.everybody || content->everybody || report.emptied;
        if (report.emptied) {
            log(LogLevel::warning, "the dict of the clone was emptied: all usage is published again");
            report.left.everybody = true;
        }
        if (auto done = right.finish(report.left); !done) return fail(done.error());
        const bool news = right.remember(report.error.has_value());
        out.left = std::move(report.left.names);
        if (report.error) {
            if (news)
                log(LogLevel::warning,
                    "the clone falls behind, mail goes on, and what is missing is sent later: " + report.error->text());
            out.state = Drained::State::failed;
            return out;
        }
        if (news) log(LogLevel::info, "the dict of the clone takes usage again");
        out.unreadable = std::move(report.unreadable);
        if (!out.left.empty() || (report.left.everybody && !report.emptied)) {
            out.state = Drained::State::some;
            return out;
        }
    }
}

void publish_before_end(Instance& instance, std::span<const std::string> users) {
    Clone* const clone = instance.clone();
    if (clone == nullptr || users.empty()) return;
    const Deadline deadline = Deadline::in(clone->patience());
    Outbox outbox(instance.files(), state_dir(instance));
    const auto tell = [](const Error& error) { log(LogLevel::warning, "the clone: " + error.text()); };
    if (auto added = outbox.add(users); !added) tell(added.error());
    CloneFeed feed({instance, *clone, nullptr, nullptr});
    // What another process adds while this one drains is this one's to see, so it looks again after letting go.
    while (!outbox.empty()) {
        auto right = outbox.drain(Deadline::in(milliseconds(0)));
        if (!right) return tell(right.error());
        if (!*right) return;  // who has it sees what was added
        const auto failed_ago = (*right)->failed_ago();
        if (!failed_ago || *failed_ago >= kLeftAlone) {
            const Drained drained = drain(**right, feed, deadline);
            if (drained.unreadable) log_unreadable(*drained.unreadable);
            if (drained.state == Drained::State::empty) continue;
        }
        // No other process is sure to send these before a power cut.
        if (auto done = outbox.sync(); !done) tell(done.error());
        return;
    }
}

AfterDelivery::AfterDelivery(Current current, Watch watch)
    : current_(std::move(current)), watch_(std::move(watch)), outbox_(current_()->files(), state_dir(*current_())) {}

AfterDelivery::~AfterDelivery() {  // NOLINT(bugprone-exception-escape): out of memory, at the end of all
    if (thread_.joinable()) stop(false);
}

void AfterDelivery::start() {
    settle(*current_());
    take_right(current_()->clone() != nullptr);
    thread_ = std::thread([this] { run(); });
}

void AfterDelivery::reloaded() {
    {
        const std::lock_guard lock(mutex_);
        dirty_ = true;
    }
    wanted_.notify_one();
}

// Names that this process adds are not synced, so what a power cut may take must be known afterwards.
void AfterDelivery::settle(Instance& instance) {
    if (marked_ || instance.clone() == nullptr) return;
    auto torn = outbox_.torn();
    Result<void> done;
    if (!torn) {
        done = std::move(torn).error();
    } else {
        if (*torn) {
            log(LogLevel::info, "the machine went down: all usage is published again");
            done = outbox_.add_everybody();
        }
        if (done) done = outbox_.mark();
    }
    marked_ = static_cast<bool>(done);
    if (!done) log(LogLevel::warning, "the clone: " + done.error().text());
}

void AfterDelivery::delivered(std::span<const Verdict> verdicts) {
    const bool cloned = current_()->clone() != nullptr;
    std::vector<std::string> users;
    std::vector<std::string> watched;
    for (const Verdict& verdict : verdicts) {
        if (verdict.outcome != Outcome::delivered) continue;
        if (cloned) users.push_back(verdict.user);
        if (watch_ && verdict.watched) watched.push_back(verdict.user);
    }
    if (users.empty() && watched.empty()) return;
    bool roused = false;
    {
        const std::lock_guard lock(mutex_);
        fresh_.insert(fresh_.end(), watched.begin(), watched.end());
        if (!users.empty()) save(users);
        roused = std::exchange(dirty_, true);
    }
    if (!roused) wanted_.notify_one();
}

// Under the mutex.
void AfterDelivery::save(std::span<const std::string> users) {
    std::vector<std::string> added;
    for (const std::string& user : users)
        if (noted_.insert(user).second || !right_) added.push_back(user);
    if (added.empty()) return;
    auto done = outbox_.add(added);
    if (done && !marked_) done = outbox_.sync();
    if (done) return;
    if (unsaved_.empty())
        log(LogLevel::error, "the clone misses these deliveries if this process dies now: " + done.error().text());
    unsaved_.insert(added.begin(), added.end());
}

void AfterDelivery::stop(bool clean) {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wanted_.notify_all();
    if (thread_.joinable()) thread_.join();
    const std::shared_ptr<Instance> instance = current_();
    watch(*instance);
    if (Clone* const clone = instance->clone(); clone != nullptr && !outbox_.empty()) {
        take_right(true);
        CloneFeed feed({*instance, *clone, nullptr, nullptr});
        if (right_) drain(*right_, feed, Deadline::in(clone->patience()), [this] { forget_noted(); });
    }
    take_right(false);
    if (!clean || !marked_) return;
    if (auto done = outbox_.unmark(); !done) log(LogLevel::warning, "the clone: " + done.error().text());
}

// Only while no other process drains is a name that was noted sure to be in the outbox.
void AfterDelivery::take_right(bool wanted) {
    if (wanted == right_.has_value()) return;
    std::optional<Outbox::Drain> right;
    if (wanted) {
        auto taken = outbox_.drain(Deadline::in(milliseconds(0)));
        if (!taken) return log(LogLevel::warning, "the clone: " + taken.error().text());
        right = *std::move(taken);
    }
    const std::lock_guard lock(mutex_);
    noted_.clear();
    right_ = std::move(right);
}

void AfterDelivery::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const std::shared_ptr<Instance> instance = current_();
        const auto roused = [&] { return stopping_ || dirty_; };
        if (instance->clone() == nullptr && instance->authority() == nullptr && !watch_) {
            wanted_.wait(lock, roused);
        } else {
            wanted_.wait_until(lock, next_, [&] { return stopping_.load(); });
            if (!roused()) wanted_.wait_until(lock, std::min(Clock::now() + kRound, settle_at_), roused);
        }
        if (stopping_) break;
        dirty_ = false;
        lock.unlock();
        round(current_());
        lock.lock();
    }
}

void AfterDelivery::watch(Instance& instance) {
    std::vector<std::string> fresh;
    {
        const std::lock_guard lock(mutex_);
        fresh.swap(fresh_);
    }
    std::sort(fresh.begin(), fresh.end());
    fresh.erase(std::unique(fresh.begin(), fresh.end()), fresh.end());
    for (const std::string& user : fresh) watch_(instance, user);
}

void AfterDelivery::round(const std::shared_ptr<Instance>& instance) {
    next_ = Clock::now() + kGather;
    try {
        watch(*instance);
        settle_at_ = settler_.work(*instance, stopping_);
        Clone* const clone = instance->clone();
        take_right(clone != nullptr);
        if (clone == nullptr) return;
        settle(*instance);
        if (!right_) return;  // another process publishes; soon
        if (dict_ != clone->dict().name()) {
            dict_ = clone->dict().name();
            witnesses_.clear();
            checked_ = false;
            next_check_ = Clock::now();
        }
        // A dict that is new here before anything is written to it that could pass for what it ought to hold.
        if (!checked_) check(*instance, *clone);
        // Of users whose usage could not be read, others' need not wait for the next try.
        if (any_noted() || (!outbox_.empty() && Clock::now() >= next_retry_)) publish(*instance, *clone);
        check(*instance, *clone);
    } catch (const std::exception& e) {  // out of memory: later
        log(LogLevel::error, std::string("the clone: ") + e.what());
        next_ = Clock::now() + kLongestBackoff;
    }
}

// Has everybody published where the dict does not hold what it ought to.
void AfterDelivery::check(Instance& instance, Clone& clone) {
    if (Clock::now() < next_check_ || backoff_.count() != 0 || clone.dict().expires()) return;
    next_check_ = Clock::now() + kCheck;
    const auto emptied = dict_was_emptied(instance, clone);
    if (!emptied) return;
    checked_ = true;
    if (!*emptied) return;
    log(LogLevel::warning, dict_ + " does not hold what was published before: all usage is published again");
    if (auto added = outbox_.add_everybody(); !added) log(LogLevel::warning, "the clone: " + added.error().text());
}

bool AfterDelivery::any_noted() {
    const std::lock_guard lock(mutex_);
    const std::vector<std::string> again(unsaved_.begin(), unsaved_.end());
    if (!again.empty() && outbox_.add(again)) unsaved_.clear();
    return !noted_.empty();
}

// From here on a delivery is noted anew, since the usage that is read next may be older than it.
void AfterDelivery::forget_noted() {
    const std::lock_guard lock(mutex_);
    noted_.clear();
}

void AfterDelivery::publish(Instance& instance, Clone& clone) {
    const milliseconds worked = thread_time();
    const Clock::time_point begin = Clock::now();
    CloneFeed feed({instance, clone, checked_ ? &witnesses_ : nullptr, &stopping_});
    const Drained drained = drain(*right_, feed, std::nullopt, [this] { forget_noted(); });
    const Clock::time_point now = Clock::now();
    if (drained.everybody) next_check_ = std::max(next_check_, now + kCheckPart * (now - begin));
    if (drained.state == Drained::State::failed) {
        backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLongestBackoff);
        next_ = now + backoff_;
        // They are in the outbox still.
        const std::lock_guard lock(mutex_);
        noted_.insert(drained.left.begin(), drained.left.end());
        return;
    }
    if (std::exchange(backoff_, milliseconds(0)).count() != 0) next_check_ = now;
    next_ = now + std::clamp(kPart * (thread_time() - worked), kGather, kLongestPause);
    next_retry_ = drained.unreadable ? now + kLongestBackoff : now;
    if (drained.unreadable && !unreadable_) log_unreadable(*drained.unreadable);
    unreadable_ = drained.unreadable.has_value();
}

bool AfterDelivery::is_noted(const std::string& user) {
    const std::lock_guard lock(mutex_);
    return noted_.contains(user);
}

// Nothing: it cannot be told now.
std::optional<bool> AfterDelivery::dict_was_emptied(Instance& instance, Clone& clone) {
    if (witnesses_.users().empty()) find_witness(instance);
    const std::vector<std::string> users = witnesses_.users();
    const Deadline deadline = Deadline::in(kCheckTime);
    for (const std::string& name : users) {
        auto seen = clone.read(name, deadline);
        if (!seen) return std::nullopt;  // that it is in trouble is told by whoever has something to publish
        if (*seen) continue;
        auto record = instance.db().find(name);
        if (!record) return std::nullopt;
        if (is_noted(name)) continue;  // about to be written, perhaps for the first time
        if (*record && (*record)->allocation) return true;
        witnesses_.remove(name);  // the user is gone, and so are the keys
    }
    return false;
}

// In a dict that is new here, somebody whose usage must be there if everything is.
void AfterDelivery::find_witness(Instance& instance) {
    constexpr int kLookedAt = 1000;
    int count = 0;
    auto listed = instance.db().each_user({}, [&](std::string_view name, const Result<UserRecord>& record) {
        const std::string user(name);
        const bool found = record && record->allocation && !is_noted(user) && User::make(instance.config(), *record);
        if (found) witnesses_.add(user);
        return !found && ++count < kLookedAt;
    });
    if (!listed) log(LogLevel::warning, "the clone: " + listed.error().text());
}

}  // namespace roost
