// What durability costs on a directory's file system, without a mail server around it: messages go through the same
// steps as in a maildir delivery (create in tmp/, write, sync, rename to new/, sync the directory), the syncs done in
// different ways, interleaved in one run.
//
//   roost-bench-sync DIR [ROUNDS] [MESSAGES] [BUSY_US] [DIRS] [THREADS,...] [WAY,...]
//
// BUSY_US: processor time per message for all that a delivery does beside the store; DIRS: mailboxes of each thread, 0
// being one for all.
// Ways: each      everybody syncs what is his
//       start     the same, but writing out begins before anybody waits: sync_file_range(2) first
//       leader    who arrives while a sync runs joins the next one; one thread syncs for all of them, file by file
//       syncfs    the same with one syncfs(2) for each group
//       mixed     files as in `each`, directories as in `syncfs`
//       joined    the same, but who needs a directory synced that another one is syncing joins the next sync of it
//       journal   a group's messages go to a preallocated log with one fdatasync(2), then to the mailboxes unsynced;
//       the
//                 time includes bringing them all to the disk in the background
//       none      no sync at all: what the other steps cost
// Prints the median of each way's messages per second, and of its ratio to `each` in the same round.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t kMessage = 8192;

int check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

void write_all(int fd, const std::string& data, off_t at) {
    if (::pwrite(fd, data.data(), data.size(), at) != static_cast<ssize_t>(data.size()))
        throw std::system_error(errno, std::generic_category(), "cannot write");
}

// Spends processor time of this thread.
void busy(std::chrono::microseconds span) {
    const auto now = [] {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    };
    for (const auto end = now() + span; now() < end;) {
    }
}

// Who arrives while a group is settled joins the next one.
template <class Item>
class Groups {
public:
    explicit Groups(std::function<void(const std::vector<Item>&)> settle) : settle_(std::move(settle)) {}

    void join(const Item& item) {
        Member self;
        std::unique_lock lock(mutex_);
        items_.push_back(item);
        members_.push_back(&self);
        if (leading_) {
            self.wake.wait(lock, [&] { return self.done || self.lead; });
            if (self.done) return;
        }
        leading_ = true;
        const std::vector<Item> items = std::exchange(items_, {});
        const std::vector<Member*> members = std::exchange(members_, {});
        lock.unlock();
        settle_(items);
        lock.lock();
        ++groups;
        for (Member* member : members) {
            member->done = true;
            if (member != &self) member->wake.notify_one();
        }
        leading_ = false;
        if (members_.empty()) return;
        leading_ = true;
        members_.front()->lead = true;
        members_.front()->wake.notify_one();
    }

    std::size_t groups = 0;

private:
    struct Member {
        std::condition_variable wake;
        bool done = false;
        bool lead = false;
    };
    std::function<void(const std::vector<Item>&)> settle_;
    std::mutex mutex_;
    std::vector<Item> items_;
    std::vector<Member*> members_;
    bool leading_ = false;
};

// How the syncs are done.
class Way {
public:
    virtual ~Way() = default;
    virtual void before_write(const std::string& /*message*/) {}
    virtual void before_rename(int /*file*/) {}
    virtual void after_rename(int /*dir*/) {}
    virtual void finish() {}
    virtual std::size_t groups() const { return 0; }
};

class Each : public Way {
public:
    void before_rename(int file) override { check(::fdatasync(file), "fdatasync"); }
    void after_rename(int dir) override { check(::fsync(dir), "fsync"); }
};

class Start : public Each {
public:
    void before_rename(int file) override {
        check(::sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE), "sync_file_range");
        Each::before_rename(file);
    }
};

class Joined : public Each {
public:
    void after_rename(int dir) override {
        Groups<int>* groups = nullptr;
        {
            const std::lock_guard lock(mutex_);
            auto& slot = dirs_[dir];
            if (!slot)
                slot = std::make_unique<Groups<int>>([](const auto& fds) { check(::fsync(fds.front()), "fsync"); });
            groups = slot.get();
        }
        groups->join(dir);
    }

private:
    std::mutex mutex_;
    std::map<int, std::unique_ptr<Groups<int>>> dirs_;
};

class Leader : public Way {
public:
    void before_rename(int file) override {
        check(::sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE), "sync_file_range");
        files_.join(file);
    }
    void after_rename(int dir) override { dirs_.join(dir); }
    std::size_t groups() const override { return files_.groups + dirs_.groups; }

private:
    Groups<int> files_{[](const std::vector<int>& fds) {
        for (const int fd : fds) check(::fdatasync(fd), "fdatasync");
    }};
    Groups<int> dirs_{[](const std::vector<int>& fds) {
        for (const int fd : fds) check(::fsync(fd), "fsync");
    }};
};

class SyncFs : public Way {
public:
    void before_rename(int file) override { files_.join(file); }
    void after_rename(int dir) override { files_.join(dir); }
    std::size_t groups() const override { return files_.groups; }

private:
    Groups<int> files_{[](const std::vector<int>& fds) {
        if (fds.size() == 1) {
            check(::fsync(fds.front()), "fsync");
        } else {
            check(::syncfs(fds.front()), "syncfs");
        }
    }};
};

class Mixed : public SyncFs {
public:
    void before_rename(int file) override { check(::fdatasync(file), "fdatasync"); }
};

// Two segments: one is filled while the other one's messages are brought to the disk.
class Journal : public Way {
public:
    Journal(const std::string& dir, bool alone) : alone_(alone) {
        for (int i = 0; i < 2; ++i) {
            const std::string path = dir + "/journal." + std::to_string(i);
            segments_[i].fd = check(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open");
            struct stat st {};
            check(::fstat(segments_[i].fd, &st), "fstat");
            const std::string zeros(1U << 20U, '\0');
            for (off_t at = st.st_size; at < static_cast<off_t>(kSegment); at += static_cast<off_t>(zeros.size()))
                write_all(segments_[i].fd, zeros, at);
            check(::fsync(segments_[i].fd), "fsync");
            segments_[i].direct = check(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC), "open");
        }
        dir_ = check(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
        checkpointer_ = std::thread([this] { checkpoints(); });
    }
    ~Journal() override {
        if (checkpointer_.joinable()) finish();
        for (const Segment& segment : segments_) ::close(segment.fd);
        for (const Segment& segment : segments_) ::close(segment.direct);
        ::close(dir_);
    }
    void before_write(const std::string& message) override {
        if (alone_) {
            append_alone();
        } else {
            groups_.join(&message);
        }
    }
    void after_rename(int /*dir*/) override {
        const std::lock_guard lock(mutex_);
        // Which segment a message went to matters to recovery alone; the bench waits for all in flight.
        if (--in_flight_ == 0) changed_.notify_all();
    }
    void finish() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
            changed_.notify_all();
        }
        checkpointer_.join();
        check(::syncfs(dir_), "syncfs");
    }
    std::size_t groups() const override { return groups_.groups; }

private:
    static constexpr std::size_t kSegment = 16U << 20U;
    struct Segment {
        int fd = -1;
        int direct = -1;
        std::size_t used = 0;
        bool full = false;
    };

    void append(const std::vector<const std::string*>& messages) {
        std::string bytes;
        for (const std::string* message : messages) bytes += *message;
        if (segments_[active_].used + bytes.size() > kSegment) {
            std::unique_lock lock(mutex_);
            segments_[active_].full = true;
            changed_.notify_all();
            active_ = 1 - active_;
            changed_.wait(lock, [&] { return !segments_[active_].full; });
        }
        write_all(segments_[active_].fd, bytes, static_cast<off_t>(segments_[active_].used));
        segments_[active_].used += bytes.size();
        check(::fdatasync(segments_[active_].fd), "fdatasync");
        const std::lock_guard lock(mutex_);
        in_flight_ += messages.size();
    }

    void append_alone() {
        constexpr std::size_t kRecord = kMessage + 512;
        alignas(4096) static const char record[kRecord] = {1};
        std::size_t at = 0;
        int fd = -1;
        {
            std::unique_lock lock(mutex_);
            if (segments_[active_].used + kRecord > kSegment) {
                segments_[active_].full = true;
                changed_.notify_all();
                active_ = 1 - active_;
                changed_.wait(lock, [&] { return !segments_[active_].full; });
            }
            at = segments_[active_].used;
            segments_[active_].used += kRecord;
            fd = segments_[active_].direct;
            ++in_flight_;
        }
        const iovec io{const_cast<char*>(record), kRecord};  // NOLINT
        if (::pwritev2(fd, &io, 1, static_cast<off_t>(at), RWF_DSYNC) != static_cast<ssize_t>(kRecord))
            throw std::system_error(errno, std::generic_category(), "cannot write the journal");
    }

    void checkpoints() {
        std::unique_lock lock(mutex_);
        while (true) {
            Segment* full = nullptr;
            changed_.wait(lock, [&] {
                for (Segment& segment : segments_)
                    if (segment.full) full = &segment;
                return full != nullptr || ending_;
            });
            if (full == nullptr) return;
            lock.unlock();
            check(::syncfs(dir_), "syncfs");
            lock.lock();
            full->used = 0;
            full->full = false;
            changed_.notify_all();
        }
    }

    bool alone_;
    Groups<const std::string*> groups_{[this](const std::vector<const std::string*>& group) { append(group); }};
    Segment segments_[2];
    int active_ = 0;
    int dir_ = -1;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t in_flight_ = 0;
    bool ending_ = false;
    std::thread checkpointer_;
};

std::unique_ptr<Way> make_way(const std::string& name, const std::string& dir) {
    if (name == "each") return std::make_unique<Each>();
    if (name == "start") return std::make_unique<Start>();
    if (name == "joined") return std::make_unique<Joined>();
    if (name == "leader") return std::make_unique<Leader>();
    if (name == "syncfs") return std::make_unique<SyncFs>();
    if (name == "mixed") return std::make_unique<Mixed>();
    if (name == "journal") return std::make_unique<Journal>(dir, false);
    if (name == "jalone") return std::make_unique<Journal>(dir, true);
    if (name == "none") return std::make_unique<Way>();
    throw std::invalid_argument("no such way: " + name);
}

struct Mailbox {
    int fresh;
    int tmp;
    int books;
};

Mailbox make_mailbox(const std::string& path) {
    ::mkdir(path.c_str(), 0700);
    ::mkdir((path + "/tmp").c_str(), 0700);
    ::mkdir((path + "/new").c_str(), 0700);
    const auto open_dir = [](const std::string& dir) {
        return check(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
    };
    return {open_dir(path + "/new"), open_dir(path + "/tmp"),
            check(::open((path + "/maildirsize").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), "open")};
}

struct Plan {
    std::string dir;
    int rounds = 5;
    int messages = 2000;
    std::chrono::microseconds busy{150};
    int dirs = 1;
    std::vector<int> threads{1, 8, 32};
    std::vector<std::string> ways{"each", "start", "leader", "syncfs", "mixed", "journal", "none"};
};

void deliver(const Plan& plan, Way& way, const Mailbox& box, const std::string& name) {
    std::string message(kMessage, 'x');
    message.replace(0, name.size(), name);
    busy(plan.busy);
    way.before_write(message);
    const int file = check(::openat(box.tmp, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), "open");
    write_all(file, message, 0);
    way.before_rename(file);
    if (::write(box.books, "8192 1\n", 7) != 7) throw std::runtime_error("cannot write maildirsize");
    check(::renameat(box.tmp, name.c_str(), box.fresh, name.c_str()), "rename");
    way.after_rename(box.fresh);
    ::close(file);
}

// Messages per second. Every run has mailboxes of its own, which stay until the end: ext4 without a journal looks long
// for an inode while many were freed lately.
double run_once(const Plan& plan, const std::string& name, int threads) {
    static int runs = 0;
    const std::string dir = plan.dir + "/" + std::to_string(++runs);
    ::mkdir(dir.c_str(), 0700);
    std::vector<Mailbox> boxes;
    for (int i = 0; i < std::max(threads * plan.dirs, 1); ++i)
        boxes.push_back(make_mailbox(dir + "/box" + std::to_string(i)));
    const auto way = make_way(name, plan.dir);
    check(::syncfs(boxes.front().fresh), "syncfs");
    const int total = threads == 1 ? plan.messages / 4 : plan.messages;
    std::atomic<int> next{0};
    const auto begin = std::chrono::steady_clock::now();
    {
        std::vector<std::jthread> workers;
        for (int t = 0; t < threads; ++t)
            workers.emplace_back([&, t] {
                for (int i = next++, n = 0; i < total; i = next++, ++n)
                    deliver(plan, *way,
                            boxes[static_cast<std::size_t>(plan.dirs == 0 ? 0 : t * plan.dirs + n % plan.dirs)],
                            std::to_string(t) + "." + std::to_string(i));
            });
    }
    way->finish();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    for (const Mailbox& box : boxes)
        for (const int fd : {box.fresh, box.tmp, box.books}) ::close(fd);
    return total / took.count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

template <class T>
std::vector<T> split(const std::string& text) {
    std::vector<T> out;
    std::istringstream in(text);
    for (std::string word; std::getline(in, word, ',');) {
        T value;
        std::istringstream(word) >> value;
        out.push_back(value);
    }
    return out;
}

void run(const Plan& plan) {
    if (::mkdir(plan.dir.c_str(), 0700) != 0) throw std::runtime_error(plan.dir + " must not be there yet");
    std::printf("%s: %d rounds, %d messages, %ld us busy, %d mailboxes a thread\n", plan.dir.c_str(), plan.rounds,
                plan.messages, static_cast<long>(plan.busy.count()), plan.dirs);
    for (const int threads : plan.threads) {
        std::map<std::string, std::vector<double>> rates;
        for (int round = 0; round < plan.rounds; ++round) {
            std::vector<std::string> ways = plan.ways;
            // Nobody is always first.
            std::rotate(ways.begin(), ways.begin() + round % static_cast<int>(ways.size()), ways.end());
            for (const std::string& way : ways) rates[way].push_back(run_once(plan, way, threads));
        }
        for (const std::string& way : plan.ways) {
            std::vector<double> ratios;
            for (std::size_t i = 0; i < rates[way].size(); ++i)
                ratios.push_back(rates[way][i] / rates[plan.ways.front()][i]);
            std::printf("%3d threads  %-8s %7.0f/s  x%.2f\n", threads, way.c_str(), median(rates[way]), median(ratios));
        }
        std::fflush(stdout);
    }
    std::filesystem::remove_all(plan.dir);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::vector<std::string> args(argv + 1, argv + argc);
        if (args.empty()) throw std::invalid_argument("usage: roost-bench-sync DIR [ROUNDS] [MESSAGES] [BUSY_US] ...");
        Plan plan;
        plan.dir = args[0];
        if (args.size() > 1) plan.rounds = std::stoi(args[1]);
        if (args.size() > 2) plan.messages = std::stoi(args[2]);
        if (args.size() > 3) plan.busy = std::chrono::microseconds(std::stoi(args[3]));
        if (args.size() > 4) plan.dirs = std::stoi(args[4]);
        if (args.size() > 5) plan.threads = split<int>(args[5]);
        if (args.size() > 6) plan.ways = split<std::string>(args[6]);
        run(plan);
    } catch (const std::exception& error) {
        std::cerr << "roost-bench-sync: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
