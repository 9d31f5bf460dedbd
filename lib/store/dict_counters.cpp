#include "store/dict_counters.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <limits>
#include <utility>

#include "base/log.h"
#include "user/hash.h"

namespace roost {
namespace {

// How long an answer is waited for: a delivery waits with it.
constexpr auto kPatience = std::chrono::seconds(2);
// How often a count is made anew because mail came meanwhile, before mail has to wait.
constexpr int kTries = 5;
constexpr std::size_t kMostMark = 128;

const std::array<std::string, 2> kKeys{kDictStorage, kDictMessages};

std::int64_t as_signed(std::uint64_t number) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::min(number, kMost));
}

DictChange addition(const std::string& key, std::int64_t diff) { return {DictChange::Kind::add, key, {}, diff}; }

// The text of a mark, which no other one has.
std::string fresh_mark() {
    static std::atomic<std::uint64_t> count{0};
    return std::to_string(::getpid()) + " " + std::to_string(++count) + " " +
           std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + "\n";
}

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

// Held until the descriptor is closed.
Result<Fd> DictCounters::lock(std::span<const std::string> names, Lock how) {
    const std::string path = marks_.path("turns", ".");
    auto fd = marks_.open(path, O_RDWR);
    if (!fd) return std::move(fd).error();
    for (const std::string& name : names) {
        struct flock range {};
        range.l_type = how == Lock::shared ? F_RDLCK : F_WRLCK;
        range.l_whence = SEEK_SET;
        range.l_start = static_cast<off_t>(fnv1a64(name) >> 2U);
        range.l_len = 1;
        while (::fcntl(fd->get(), F_OFD_SETLKW, &range) != 0) {
            if (errno == EBADF) break;  // a dry run's is not open for writing, and puts nothing right
            if (errno != EINTR) return system_error(errno, "cannot lock " + path, "its file system must support locks");
        }
    }
    return fd;
}

// With the lock held.
void DictCounters::mark(const std::string& name) {
    if (auto done = marks_.put(name, fresh_mark()); !done)
        log(LogLevel::error,
            "the usage of " + name + " is counted wrongly until it is recounted: " + done.error().text());
}

void DictCounters::doubt(const std::string& name) {
    const auto held = lock({&name, 1}, Lock::shared);  // without it, a count may take the mark away that missed why
    if (!held) log(LogLevel::warning, held.error().text());
    mark(name);
}

bool DictCounters::doubted(const std::string& name) {
    auto text = marks_.get(name, kMostMark);
    return text && *text;
}

// Makes the counters say what was counted when they said `said`. What is added in this moment stays.
Result<void> DictCounters::correct(const std::string& name, const std::optional<Usage>& said, const Usage& counted) {
    if (said == counted) return {};
    DictTransaction transaction{name, {}};
    if (said) {
        transaction.changes = {addition(kKeys[0], as_signed(counted.storage) - as_signed(said->storage)),
                               addition(kKeys[1], as_signed(counted.messages) - as_signed(said->messages))};
    } else {
        transaction.changes = {{DictChange::Kind::set, kKeys[0], std::to_string(counted.storage), 0},
                               {DictChange::Kind::set, kKeys[1], std::to_string(counted.messages), 0}};
    }
    return dict_.commit({&transaction, 1}, Deadline::in(kPatience));
}

Result<Usage> DictCounters::recount(const std::string& name, const Counting& count) {
    for (int tries = 0;; ++tries) {
        const bool alone = tries == kTries;
        Result<Fd> turn{Fd()};
        const auto take_turn = [&] {
            turn = lock({&name, 1}, Lock::alone);
            return static_cast<bool>(turn);
        };
        if (alone && !take_turn()) return std::move(turn).error();
        auto marked = marks_.get(name, kMostMark);
        if (!marked) return std::move(marked).error();
        auto before = peek(name);
        if (!before) return std::move(before).error();
        auto counted = count();
        if (!counted) return counted;
        if (!alone && !take_turn()) return std::move(turn).error();
        auto after = peek(name);
        if (!after) return std::move(after).error();
        if (!alone) {
            // What was added, or could not be, meanwhile: nobody knows whether the count has seen it.
            auto still = marks_.get(name, kMostMark);
            if (!still) return std::move(still).error();
            if (*before != *after || *still != *marked) continue;
        }
        if (auto done = correct(name, *after, *counted); !done) return std::move(done).error();
        if (*marked)
            if (auto gone = marks_.remove(name); !gone) return std::move(gone).error();
        return counted;
    }
}

Result<Usage> DictCounters::usage(const std::string& name, const Counting& count) {
    auto mark = marks_.get(name, kMostMark);
    if (!mark) return std::move(mark).error();
    if (!*mark) {
        auto said = peek(name);
        if (!said) return std::move(said).error();
        if (*said) return **said;
    }
    return recount(name, count);
}

Result<void> DictCounters::settle(const std::string& name, const Counting& count) {
    {
        auto turn = lock({&name, 1}, Lock::alone);
        if (!turn) return std::move(turn).error();
        auto said = peek(name);
        if (!said) return std::move(said).error();
        if (!*said) {
            auto gone = marks_.remove(name);
            return gone ? Result<void>() : Result<void>(std::move(gone).error());
        }
    }
    auto counted = recount(name, count);
    return counted ? Result<void>() : Result<void>(std::move(counted).error());
}

Result<void> DictCounters::remove(const std::string& name) {
    auto turn = lock({&name, 1}, Lock::alone);
    if (!turn) return std::move(turn).error();
    auto gone = marks_.remove(name);
    if (!gone) return std::move(gone).error();
    const DictTransaction transaction{
        name, {{DictChange::Kind::unset, kKeys[0], {}, 0}, {DictChange::Kind::unset, kKeys[1], {}, 0}}};
    return dict_.commit({&transaction, 1}, Deadline::in(kPatience));
}

DictCounters::Turn DictCounters::begin(std::span<const std::string> names) {
    auto held = lock(names, Lock::shared);
    // Mail comes first: without the lock it may be counted twice, if it is just being counted.
    if (!held) log(LogLevel::warning, held.error().text());
    return {*this, held ? *std::move(held) : Fd()};
}

void DictCounters::Turn::add(std::span<const std::string> names, const Usage& more) {
    std::vector<DictTransaction> transactions;
    for (const std::string& name : names)
        transactions.push_back(
            {name, {addition(kKeys[0], as_signed(more.storage)), addition(kKeys[1], as_signed(more.messages))}});
    auto done = owner_.dict_.commit(transactions, Deadline::in(kPatience));
    if (done) return;
    // Some of it may have been added; nobody knows.
    log(LogLevel::warning, "to be counted anew later: " + done.error().text());
    for (const std::string& name : names) owner_.mark(name);
}

}  // namespace roost
