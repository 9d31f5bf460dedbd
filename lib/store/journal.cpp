#include "store/journal.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "store/journal_files.h"
#include "store/journal_format.h"

namespace roost {
namespace {

// A file system, by a directory on it.
struct Volume {
    Fd directory;
    std::string path;
};

struct Segment {
    std::string path;
    Fd file;
    std::uint64_t size = 0;
    std::uint64_t generation = 0;
    std::uint64_t tail = 0;           // where the next record goes
    bool filled = false;              // it is done with because there was no room left
    std::size_t held = 0;             // deliveries in it that are not published yet
    std::map<dev_t, Volume> volumes;  // that its messages lie on

    SyncTarget target() const { return {file.get(), path}; }
};

// Whether the file system would hardly notice so many bytes more.
bool has_plenty(int fd, std::uint64_t bytes) {
    struct statvfs st {};
    return ::fstatvfs(fd, &st) == 0 && static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize / 16 >= bytes;
}

Result<Segment> open_segment(Files& files, DirRef dir, const std::string& name, const JournalPlan& plan) {
    Segment out;
    out.path = std::string(dir.path) + "/" + name;
    auto file = files.open(dir, name, O_RDWR);
    if (!file && file.error().sys != ENOENT) return std::move(file).error();
    struct stat st {};
    if (file && ::fstat(file->get(), &st) != 0) return system_error(errno, "cannot look at " + out.path);
    out.size = static_cast<std::uint64_t>(st.st_size);
    if (!file || !plan.can_be(out.size)) {
        out.size = plan.segment_size;
        if (auto made = journal::make_segment(files, dir, name, out.size); !made) return std::move(made).error();
        file = files.open(dir, name, O_RDWR);
        if (!file) return std::move(file).error();
    }
    out.file = *std::move(file);
    return out;
}

// The records of one flush, and what became of them. Those who wait sleep on the state itself: woken from a condition
// variable they would wait for its mutex one after the other, and std::atomic's wait() yields the processor before it
// sleeps, which costs more than it saves where they are many.
class Batch {
public:
    enum State : std::uint32_t {
        gathering,
        leaderless,  // gathering, and nobody flushes: one of those who wait for it has to
        flushing,
        durable,
        failed,
    };
    // With the journal's lock; all else without it. Those who wait have to be woken.
    void become(State state) { state_.store(state, std::memory_order_release); }
    void wake_one() { futex(FUTEX_WAKE_PRIVATE, 1); }
    void wake_all() { futex(FUTEX_WAKE_PRIVATE, INT_MAX); }
    // Waits while others take care of it.
    State wait() const {
        auto state = state_.load(std::memory_order_acquire);
        while (state == gathering || state == flushing) {
            futex(FUTEX_WAIT_PRIVATE, state);
            state = state_.load(std::memory_order_acquire);
        }
        return state;
    }

private:
    // futex(2) reports nothing that matters here: whoever wakes looks again.
    void futex(int what, std::uint32_t value) const { ::syscall(SYS_futex, &state_, what, value, nullptr, nullptr, 0); }
    std::atomic<State> state_{gathering};
    static_assert(sizeof state_ == sizeof(std::uint32_t) && std::atomic<State>::is_always_lock_free);
};

class JournalDurability final : public Durability {
public:
    JournalDurability(Files& files, JournalPlan plan, Fd dir, Fd lock, std::vector<Segment> segments,
                      std::uint64_t generation, std::shared_ptr<Doubts> doubts)
        : files_(files),
          plan_(std::move(plan)),
          dir_(std::move(dir)),
          lock_(std::move(lock)),
          segments_(std::move(segments)),
          generation_(generation),
          doubts_(std::move(doubts)),
          fsync_(make_fsync_durability(files, doubts_, stats_)) {
        for (Segment& segment : segments_) free_.push_back(&segment);
        keeper_ = std::thread([this] { keep(); });
    }
    JournalDurability(const JournalDurability&) = delete;
    JournalDurability& operator=(const JournalDurability&) = delete;
    ~JournalDurability() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
            keep_.notify_one();
        }
        keeper_.join();
    }

    Result<void> accepts(const Pending& delivery) override { return fsync_->accepts(delivery); }

    Result<void> before_publish(std::span<Pending* const> group) override {
        std::vector<Pending::Redo> redos;
        std::vector<Pending*> journaled;
        std::vector<Pending*> others;
        for (Pending* pending : group) {
            if (auto accepted = accepts(*pending); !accepted) return accepted;
            auto redo = pending->redo();
            if (redo.message == nullptr || redo.message->size() > Journal::kLargest || pending->plan().after.empty()) {
                others.push_back(pending);
                continue;
            }
            redos.push_back(std::move(redo));
            journaled.push_back(pending);
        }
        if (!others.empty())
            if (auto settled = fsync_->before_publish(others); !settled) return settled;
        if (journaled.empty()) return {};
        std::string record;
        if (auto made = write_record(redos, record); !made) return made;
        // Of very many recipients.
        if (record.size() > plan_.segment_size - journal::kBlock) return fsync_->before_publish(journaled);

        std::unique_lock lock(mutex_);
        auto place = append(lock, record);
        if (!place) {
            if (!std::exchange(given_up_, true))
                log(LogLevel::error, "journal: " + place.error().text() +
                                         "; until roostd is restarted each delivery is synced by itself");
            lock.unlock();
            return fsync_->before_publish(journaled);
        }
        count_group(journaled.size());
        Segment& segment = *place->segment;
        for (std::size_t i = 0; i < journaled.size(); ++i) {
            held_[journaled[i]] = {&segment, {segment.generation, place->offset, static_cast<std::uint32_t>(i)}};
            ++segment.held;
            add_volume(segment, journaled[i]->plan().after.front());
        }
        auto durable = wait_until_durable(lock, place->batch);
        if (durable) return durable;
        if (!lock) lock.lock();
        for (const Pending* pending : journaled) let_go(*pending);
        return durable;
    }

    Result<void> after_publish(std::span<Pending* const> group) override {
        std::vector<Pending*> others;
        {
            const std::lock_guard lock(mutex_);
            std::copy_if(group.begin(), group.end(), std::back_inserter(others),
                         [&](const Pending* pending) { return held_.count(pending) == 0; });
            if (others.empty()) {
                for (const Pending* pending : group) let_go(*pending);
                return {};
            }
        }
        if (auto settled = fsync_->after_publish(others); !settled) return settled;
        const std::lock_guard lock(mutex_);
        for (const Pending* pending : group) let_go(*pending);
        return {};
    }

    bool lets_be_nameless(const Message& message) const override { return message.size() <= Journal::kLargest; }

    void forget(const Pending& delivery) override {
        std::unique_lock lock(mutex_);
        const auto found = held_.find(&delivery);
        if (found == held_.end()) return;
        std::string record;
        journal::RecordWriter writer(record);
        writer.cancel(found->second.delivery);
        writer.end();
        auto place = append(lock, record, Patience::none);
        auto durable = place ? wait_until_durable(lock, place->batch) : Result<void>(std::move(place).error());
        if (!lock) lock.lock();
        if (!durable) log(LogLevel::warning, "a delivery that failed may come back: " + durable.error().text());
        let_go(delivery);
    }

private:
    struct Held {
        Segment* segment;
        journal::Cancel delivery;
    };
    struct Place {
        Segment* segment;
        std::uint64_t offset;
        std::shared_ptr<Batch> batch;  // that it is flushed with
    };
    using Lock = std::unique_lock<std::mutex>;

    // All redos are of one message.
    static Result<void> write_record(const std::vector<Pending::Redo>& redos, std::string& record) {
        const Message& message = *redos.front().message;
        constexpr std::size_t kTexts = 1024;
        record.reserve(message.size() + redos.size() * kTexts);
        journal::RecordWriter writer(record);
        writer.deliveries(redos.size());
        for (const Pending::Redo& redo : redos) writer.entry(redo.user, redo.place, redo.header);
        writer.message_size(message.size());
        auto done = message.each([&](std::string_view bytes) -> Result<void> {
            writer.message_bytes(bytes);
            return {};
        });
        writer.end();
        return done;
    }

    static void add_volume(Segment& segment, const SyncTarget& directory) {
        struct stat st {};
        if (::fstat(directory.fd, &st) != 0) return;
        Volume& volume = segment.volumes[st.st_dev];
        if (volume.directory) return;
        volume.directory.reset(::fcntl(directory.fd, F_DUPFD_CLOEXEC, 0));
        volume.path = directory.path;
    }

    void let_go(const Pending& delivery) {
        const auto found = held_.find(&delivery);
        if (found == held_.end()) return;
        Segment& segment = *found->second.segment;
        if (--segment.held == 0 && &segment != active_) keep_.notify_one();
        held_.erase(found);
    }

    // Puts a record behind the others. It goes to the disk with the next flush.
    // Patience::none: whoever holds a delivery of a segment must not wait for that segment to become free.
    enum class Patience { none, enough };
    Result<Place> append(Lock& lock, std::string& record, Patience patience = Patience::enough) {
        if (broken_) return *broken_;
        while (active_ == nullptr || active_->tail + record.size() > active_->size)
            if (auto turned = turn_over(lock, patience); !turned) return std::move(turned).error();
        if (broken_) return *broken_;
        journal::seal(record, active_->generation);
        const std::uint64_t offset = active_->tail;
        active_->tail += record.size();
        gathered_ += record;
        return Place{active_, offset, gathering_};
    }

    // Goes on in the next free segment, or waits until there may be one. The caller looks again.
    Result<void> turn_over(Lock& lock, Patience patience) {
        const Segment* before = active_;
        if (auto durable = wait_until_all_durable(lock); !durable) return durable;
        if (active_ != before) return {};
        if (free_.empty()) {
            if ((full_.empty() && !keeping_) || patience == Patience::none)
                return Error{Outcome::trouble, "the journal in " + plan_.dir + " is full",
                             "its mail could not be synced to the mailboxes",
                             "check the disks and their file systems, then restart roostd", 0};
            room_.wait(lock);
            return {};
        }
        if (active_ != nullptr) {
            active_->filled = true;
            full_.push_back(active_);
        }
        active_ = free_.front();
        free_.pop_front();
        active_->filled = false;
        active_->generation = ++generation_;
        active_->tail = journal::kBlock;
        // On its way to the disk with the first records.
        auto begun =
            files_.write_at(active_->file.get(), 0, journal::first_block({active_->generation, true}), active_->path);
        if (!begun) broken_ = doubts_->add(active_->target(), std::move(begun).error());
        keep_.notify_one();
        return {};
    }

    // Whoever comes while nobody flushes does it, for all that has been gathered. Meanwhile the next batch gathers; one
    // of those who wait for it is woken to flush it. They wait without the lock, so that none of those who are woken
    // waits for another one. It may be free afterwards.
    Result<void> wait_until_durable(Lock& lock, const std::shared_ptr<Batch>& batch) {
        while (true) {
            if (broken_) return *broken_;
            if (batch == gathering_ && !flushing_) return flush(lock);
            lock.unlock();
            if (batch->wait() == Batch::durable) return {};
            lock.lock();
        }
    }

    // Others may append while one waits.
    Result<void> wait_until_all_durable(Lock& lock) {
        Result<void> done;
        while (done && (flushing_ || !gathered_.empty())) {
            done = wait_until_durable(lock, std::shared_ptr<Batch>(gathered_.empty() ? flushing_ : gathering_));
            if (!lock) lock.lock();
        }
        return done;
    }

    // All that has been gathered. The lock is free afterwards.
    Result<void> flush(Lock& lock) {
        flushing_ = std::exchange(gathering_, std::make_shared<Batch>());
        flushing_->become(Batch::flushing);
        std::string bytes;
        bytes.swap(gathered_);
        const Segment& segment = *active_;
        const std::uint64_t begin = segment.tail - bytes.size();
        lock.unlock();
        auto done = files_.write_at(segment.file.get(), begin, bytes, segment.path);
        if (done) done = files_.sync_data(segment.file.get(), segment.path);
        count_sync();
        if (!done) {
            // None of it is acknowledged: what did get there must not be brought back.
            bytes.assign(bytes.size(), '\0');
            static_cast<void>(files_.write_at(segment.file.get(), begin, bytes, segment.path));
        }
        lock.lock();
        const std::shared_ptr<Batch> batch = std::exchange(flushing_, nullptr);
        const std::shared_ptr<Batch> next = gathering_;
        next->become(Batch::leaderless);
        if (done) {
            batch->become(Batch::durable);
            bytes.clear();
            if (gathered_.empty()) gathered_.swap(bytes);  // for its capacity
            lock.unlock();
            next->wake_one();
        } else {
            batch->become(Batch::failed);
            broken_ = doubts_->add(segment.target(), std::move(done).error());
            done = *broken_;
            lock.unlock();
            next->wake_all();
        }
        batch->wake_all();
        return done;
    }

    // The checkpoints, in a thread of their own.
    void keep() {
        Lock lock(mutex_);
        Deadline round = Deadline::in(plan_.checkpoint);
        while (true) {
            if (full_.empty() && (ending_ || round.expired())) {
                round = Deadline::in(plan_.checkpoint);
                const bool used = active_ != nullptr && active_->tail > journal::kBlock;
                // What is not durable by then was not acknowledged.
                if (used && (broken_ || wait_until_all_durable(lock)) && active_ != nullptr) {
                    full_.push_back(active_);
                    active_ = nullptr;
                }
                if (full_.empty() && ending_) return;
            }
            if (full_.empty()) {
                keep_.wait_for(lock, round.remaining());
                continue;
            }
            Segment& segment = *full_.front();
            if (segment.held > 0) {
                keep_.wait(lock);
                continue;
            }
            full_.pop_front();
            keeping_ = true;
            lock.unlock();
            const auto begin = std::chrono::steady_clock::now();
            bool done = checkpoint(segment);
            if (done && segment.filled && std::chrono::steady_clock::now() - begin < plan_.quick) done = grow(segment);
            lock.lock();
            keeping_ = false;
            if (done) free_.push_back(&segment);
            room_.notify_all();
        }
    }

    // Brings all mail of a segment to its mailboxes' disks, and frees it. False: it has to stay as it is.
    bool checkpoint(Segment& segment) {
        bool sound = true;
        for (const auto& [device, volume] : segment.volumes) {
            auto done = files_.sync_volume(volume.directory.get(), volume.path);
            count_sync();
            // Another one's sync may have been told of what this volume has lost.
            if (done) done = doubts_->check({volume.directory.get(), volume.path});
            if (done) continue;
            // Mail that was acknowledged is not where it should be, also where the disk is merely full.
            Error error = std::move(done).error();
            error.outcome = Outcome::trouble;
            doubts_->add({volume.directory.get(), volume.path}, std::move(error));
            sound = false;
        }
        segment.volumes.clear();
        if (!sound) return false;
        auto done =
            files_.write_at(segment.file.get(), 0, journal::first_block({segment.generation, false}), segment.path);
        if (done) done = files_.sync_data(segment.file.get(), segment.path);
        count_sync();
        if (done) return true;
        doubts_->add(segment.target(), std::move(done).error());
        return false;
    }

    // Makes a free segment twice as large; it stays as it is where the plan or the disk has no room to spare. False: it
    // is not to be used again.
    bool grow(Segment& segment) {
        const std::uint64_t size = segment.size * 2;
        if (size > plan_.largest || !has_plenty(segment.file.get(), size)) return true;
        if (journal::fill_with_zeroes(files_, segment.file.get(), segment.path, segment.size, size)) {
            segment.size = size;
        } else if (auto cut = files_.truncate(segment.file.get(), segment.size, segment.path); !cut) {
            log(LogLevel::warning, "journal: " + cut.error().text());
        }
        auto synced = files_.sync(segment.file.get(), segment.path);
        count_sync();
        if (synced) return true;
        doubts_->add(segment.target(), std::move(synced).error());
        return false;
    }

    Files& files_;
    const JournalPlan plan_;
    Fd dir_;
    Fd lock_;  // keeps other processes out of the directory
    std::vector<Segment> segments_;
    std::uint64_t generation_;
    std::shared_ptr<Doubts> doubts_;
    std::unique_ptr<Durability> fsync_;

    std::mutex mutex_;
    std::condition_variable room_;  // a segment is free
    std::condition_variable keep_;  // the keeper has something to do
    Segment* active_ = nullptr;     // records are appended to it
    std::deque<Segment*> full_;     // oldest first: they wait for their checkpoint
    std::deque<Segment*> free_;
    std::string gathered_;  // appended to `active_`, not yet written: the records of `gathering_`
    std::shared_ptr<Batch> gathering_ = std::make_shared<Batch>();
    std::shared_ptr<Batch> flushing_;  // null: nobody flushes
    bool keeping_ = false;             // a checkpoint is under way
    bool ending_ = false;
    std::optional<Error> broken_;  // why nothing can be journaled any more
    bool given_up_ = false;        // somebody was told that there is no room any more, or of broken_
    std::unordered_map<const Pending*, Held> held_;
    std::thread keeper_;
};

}  // namespace

Result<Journal> Journal::open(Files& files, JournalPlan plan) {
    Journal out(files, std::move(plan));
    auto dir = files.make_path(out.plan_.dir, 0700);
    if (!dir) return std::move(dir).error();
    out.dir_ = *std::move(dir);
    auto lock = files.open({out.dir_.get(), out.plan_.dir}, "lock", O_RDWR | O_CREAT, journal::kFileMode);
    if (!lock) return std::move(lock).error();
    out.lock_ = *std::move(lock);
    if (::flock(out.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return system_error(errno, "cannot lock " + out.plan_.dir + "/lock");
        return Error{Outcome::trouble, "cannot use the journal in " + out.plan_.dir, "another roostd uses it",
                     "give each roostd a store.state of its own", EWOULDBLOCK};
    }
    return out;
}

Result<std::unique_ptr<Durability>> Journal::start(std::shared_ptr<Doubts> doubts) && {
    const DirRef dir{dir_.get(), plan_.dir};
    std::vector<Segment> segments;
    for (unsigned i = 0; i < plan_.segments; ++i) {
        auto segment = open_segment(files_, dir, "segment-" + std::to_string(i), plan_);
        if (!segment) return std::move(segment).error();
        segments.push_back(*std::move(segment));
    }
    if (auto synced = files_.sync(dir.fd, dir.path); !synced) return std::move(synced).error();
    // A crash may have kept the first blocks of the last ones from the disk, but not their records.
    const std::uint64_t generation = generation_ + plan_.segments;
    return std::unique_ptr<Durability>(std::make_unique<JournalDurability>(files_, std::move(plan_), std::move(dir_),
                                                                           std::move(lock_), std::move(segments),
                                                                           generation, std::move(doubts)));
}

}  // namespace roost
