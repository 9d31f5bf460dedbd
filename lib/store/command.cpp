#include "store/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/log.h"

namespace roost {
namespace {

constexpr std::size_t kMostWaiting = 1000;
// What is logged of a command's words.
constexpr std::size_t kMostText = 4096;
constexpr int kGlance_ms = 20;

void complain(const Command& command, std::string_view why) {
    log(LogLevel::warning, "command " + command.argv.front() + ": " + std::string(why));
}

void fail(const Command& command, std::string_view why) {
    complain(command, why);
    if (command.failed) command.failed();
}

// Starts it as the leader of a process group; its words come out of `out`. Its process id, or 0.
pid_t start(const Command& command, Fd& out) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        fail(command, std::strerror(errno));  // NOLINT(concurrency-mt-unsafe): glibc's is
        return 0;
    }
    out.reset(ends[0]);
    const Fd in(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, in.get(), STDERR_FILENO);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> words = command.argv;
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/local/bin:/usr/bin:/bin";
    std::array<char*, 2> environment{path.data(), nullptr};
    pid_t pid = 0;
    const int code = ::posix_spawn(&pid, argv.front(), &actions, &attributes, argv.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (code == 0) return pid;
    fail(command, std::strerror(code));  // NOLINT(concurrency-mt-unsafe): glibc's is
    return 0;
}

// Takes in what is there, and forgets what is too much.
void read_words(int fd, std::string& text) {
    std::array<char, 4096> buffer;
    ssize_t got = 0;
    while ((got = ::read(fd, buffer.data(), buffer.size())) > 0)
        text.append(buffer.data(), std::min(static_cast<std::size_t>(got), kMostText - text.size()));
}

void log_words(const Command& command, std::string_view text) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (!line.empty()) log(LogLevel::info, "command " + command.argv.front() + " says: " + std::string(line));
    }
}

}  // namespace

void run_command(const Command& command, const std::atomic<bool>* stop) {
    Fd out;
    const pid_t pid = start(command, out);
    if (pid == 0) return;
    const Deadline deadline = Deadline::in(command.timeout);
    std::string text;
    int status = 0;
    bool killed = false;
    while (::waitpid(pid, &status, killed ? 0 : WNOHANG) == 0) {
        if (stop != nullptr && *stop) return complain(command, "it still runs while this program stops");
        pollfd wanted{out.get(), POLLIN, 0};
        const bool ended = ::poll(&wanted, 1, kGlance_ms) > 0 && (wanted.revents & POLLIN) == 0;
        if (ended) ::poll(nullptr, 0, kGlance_ms);  // it has closed its output and goes on
        read_words(out.get(), text);
        if (!deadline.expired()) continue;
        ::kill(-pid, SIGKILL);
        killed = true;
    }
    read_words(out.get(), text);
    log_words(command, text);
    if (killed) {
        fail(command, "it took longer than quota.warning-timeout and was killed");
    } else if (WIFSIGNALED(status)) {
        fail(command, "it was ended by signal " + std::to_string(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0) {
        fail(command, "it ended with status " + std::to_string(WEXITSTATUS(status)));
    }
}

void run_detached(const Command& command) {
    const pid_t pid = ::fork();
    if (pid < 0) fail(command, std::strerror(errno));  // NOLINT(concurrency-mt-unsafe): glibc's is
    if (pid != 0) return;
    ::setsid();
    const Fd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int each : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere.get(), each);
    run_command(command);
    ::_exit(0);
}

CommandQueue::~CommandQueue() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    for (const Command& each : waiting_) run_detached(each);
}

void CommandQueue::add(Command command) {
    {
        const std::lock_guard lock(mutex_);
        if (waiting_.size() < kMostWaiting) {
            waiting_.push_back(std::move(command));
            if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
            wake_.notify_one();
            return;
        }
    }
    fail(command, "it is not run, since too many are to be run");
}

void CommandQueue::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
        if (stop_) return;
        const Command command = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        run_command(command, &stop_);
        lock.lock();
    }
}

}  // namespace roost
