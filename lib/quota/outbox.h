// The names of users whose usage changed and may not be in the clone yet, kept in a file so that none is forgotten.
//
// The file is STATE/clone.pending. Each record is a line with a name, in which "%", "*" and control characters stand as
// %HH; the line "*" alone stands for every user there is. Blank lines mean nothing, and a name that stands there twice
// means what it means once. A record is appended by one write(2) with a line feed before and after it, so that one that
// a full disk cut short does not run into the next. Whoever appends holds flock(2) LOCK_SH on the file and makes sure
// afterwards that STATE/clone.pending is still that file; whoever takes records out holds LOCK_EX, and either cuts the
// file to nothing or puts another one in its place. Since only the process that drains takes any out, its own threads
// append by a mutex instead.
//
// Records are not synced as they are written: they survive the death of any process, but not a power cut. A process
// that lets a verdict out without syncing them therefore leaves a mark first, STATE/clone.boot, durably: the machine's
// boot ID. Where the mark of another boot is found, names may be lost, and "*" must be added.
//
// STATE/clone.lock is locked with flock(2) LOCK_EX by the one process that drains the outbox and writes to the clone.
// It is empty, or holds "trouble" from a publication that failed until one that worked; its time of modification is
// that of the last failure.
#pragma once

#include "base/deadline.h"
#include "base/files.h"
#include "base/result.h"

#include <chrono>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace roost {

// Any number of processes and threads at once.
class Outbox {
public:
    // `state`: the directory, made when something is first added. Files that root makes get that directory's owner.
    Outbox(Files& files, std::string state);

    struct Content {
        std::vector<std::string> names;  // each once
        bool everybody = false;
        bool empty() const { return names.empty() && !everybody; }
    };

    // One write(2), whose records survive the process; no other system call while this object has a Drain. Waits only
    // for the moment in which records are taken out.
    Result<void> add(std::span<const std::string> names);
    Result<void> add_everybody();
    // What was added before survives a power cut, too.
    Result<void> sync();
    // Nothing is there: one stat(2).
    bool empty();

    // True: the mark of another boot stands, so that records may be lost.
    Result<bool> torn();
    // Leaves the mark, and takes it back once what was added has been synced. Durable when they return.
    Result<void> mark();
    Result<void> unmark();

    // The right to write to the clone and to take records out. One holder on the machine; freed with the object.
    class Drain {
    public:
        // What the outbox holds now.
        Result<Content> read();
        // Takes out what read() gave, save `left`, which may name everybody anew. What was added meanwhile stays.
        Result<void> finish(const Content& left);
        // How long ago a publication failed that none has succeeded since.
        std::optional<std::chrono::milliseconds> failed_ago() const;
        // Remembers how a publication went. True: the one before went otherwise, so that somebody should be told.
        bool remember(bool failed);

        Drain(Drain&& other) noexcept = default;
        Drain& operator=(Drain&& other) noexcept;
        Drain(const Drain&) = delete;
        Drain& operator=(const Drain&) = delete;
        ~Drain();

    private:
        friend class Outbox;
        Drain(Outbox& owner, Fd lock) : owner_(&owner), lock_(std::move(lock)) {}
        Outbox* owner_;
        Fd lock_;
        std::uint64_t size_ = 0;  // bytes of the outbox that read() saw
        Content read_;            // and gave
    };
    // Nothing: another process drains still at the deadline.
    Result<std::optional<Drain>> drain(Deadline deadline);

private:
    enum class Hold { shared, exclusive };
    Result<Fd> open_here(const std::string& path, int flags);
    Result<void> append(std::string_view text);
    // Whether an open file is still the one under its name.
    Result<bool> is_current(int fd);
    // The file under its name, locked.
    Result<Fd> open_locked(Hold hold);

    Files& files_;
    std::string state_;
    std::string pending_;  // paths
    std::string lock_;
    std::string boot_;
    std::mutex mutex_;      // for the rest; as for the threads of a process, flock(2) knows one holder alone
    Fd out_;                // for appending; kept open
    bool drained_ = false;  // a Drain of ours is there: nobody else takes records out or puts another file in place
};

}  // namespace roost
