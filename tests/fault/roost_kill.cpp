// roost-kill: runs a command and kills it, or lets a system call of it fail, at a chosen system call.
//
//   roost-kill FLAGS N -- COMMAND ARGUMENT...
//
// Counts the command's system calls, those of its threads and children too, from its execve on. At the entry of the
// N-th one every process of it is killed with SIGKILL; that call is not carried out. N = 0 lets it run to its end.
//   --changes      count only calls that change a file system or a lock, and the end of the process (calls.cpp)
//   --under TEXT   count only calls on a file whose path contains TEXT
//   --after NAME   begin to count when an open of a file whose path ends in NAME has returned
//   --fail ERRNO   instead of killing: the call, one of those that --changes counts, is not carried out and returns
//                  that error; standard output and error never fail
//   --on           with --fail: so does every counted call after it
//   --signal S     instead of killing: the command is sent the signal of that number, and the call goes on
//   --short        instead of killing: a write of the N-th call does half of what was asked
//   --list         report every counted call
//   --report FILE  lines "call N NAME OBJECT" (the one that was hit, with --list each), "count N", "status N" or
//                  "signal N"
// Exit status: the command's own; 128 + signal if one ended it; 125 if roost-kill itself failed.
#include "calls.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace roost::fault {
namespace {

constexpr int kOwnFailure = 125;

struct Options {
    bool changes = false;
    std::string under;
    std::string after;
    std::optional<int> fail;
    std::optional<int> signal;
    bool on = false;
    bool make_short = false;
    bool list = false;
    std::string report;
    std::uint64_t at = 0;
    std::vector<char*> command;  // ends in null
};

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

struct ErrnoName {
    std::string_view name;
    int number;
};
constexpr ErrnoName kErrnos[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EINTR", EINTR},
                                 {"EACCES", EACCES}, {"EROFS", EROFS},   {"EMFILE", EMFILE}, {"ENOLCK", ENOLCK}};

int read_errno(std::string_view text) {
    for (const auto& [name, number] : kErrnos)
        if (name == text) return number;
    throw std::invalid_argument("--fail takes EIO, ENOSPC, EDQUOT, EINTR, EACCES, EROFS, EMFILE or ENOLCK");
}

Options read_options(int argc, char** argv) {
    Options options;
    int i = 1;
    const auto value = [&] {
        if (++i >= argc) throw std::invalid_argument(std::string(argv[i - 1]) + " needs a value");
        return std::string_view(argv[i]);
    };
    for (; i < argc && argv[i][0] == '-'; ++i) {
        const std::string_view flag = argv[i];
        if (flag == "--changes") {
            options.changes = true;
        } else if (flag == "--under") {
            options.under = value();
        } else if (flag == "--after") {
            options.after = value();
        } else if (flag == "--fail") {
            options.fail = read_errno(value());
        } else if (flag == "--signal") {
            options.signal = std::stoi(std::string(value()));
        } else if (flag == "--on") {
            options.on = true;
        } else if (flag == "--short") {
            options.make_short = true;
        } else if (flag == "--list") {
            options.list = true;
        } else if (flag == "--report") {
            options.report = value();
        } else {
            throw std::invalid_argument("unknown flag " + std::string(flag));
        }
    }
    if (argc - i < 3 || std::string_view(argv[i + 1]) != "--") throw std::invalid_argument("N -- COMMAND is missing");
    const std::string_view number = argv[i];
    const auto [end, wrong] = std::from_chars(number.data(), number.data() + number.size(), options.at);
    if (wrong != std::errc() || end != number.data() + number.size()) throw std::invalid_argument("N is no number");
    options.command.assign(argv + i + 2, argv + argc);
    options.command.push_back(nullptr);
    return options;
}

// A string of the traced process, as far as it can be read.
std::string read_string(pid_t pid, std::uint64_t address) {
    std::string text;
    constexpr std::uint64_t kPage = 4096;  // a read that crosses into an unmapped page would yield nothing
    while (text.size() < PATH_MAX) {
        char buffer[kPage];
        const std::uint64_t from = address + text.size();
        iovec local{buffer, kPage - from % kPage};
        iovec remote{reinterpret_cast<void*>(from), local.iov_len};  // NOLINT(performance-no-int-to-ptr)
        const ssize_t got = ::process_vm_readv(pid, &local, 1, &remote, 1, 0);
        if (got <= 0) break;
        const char* end = std::find(static_cast<const char*>(buffer), static_cast<const char*>(buffer) + got, '\0');
        text.append(static_cast<const char*>(buffer), end);
        if (end != buffer + got) break;
    }
    return text;
}

std::string descriptor_name(pid_t pid, std::uint64_t fd) {
    char buffer[PATH_MAX];
    const std::string link = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(static_cast<int>(fd));
    const ssize_t got = ::readlink(link.c_str(), buffer, sizeof buffer);
    return got < 0 ? std::string("-") : std::string(buffer, static_cast<std::size_t>(got));
}

using SyscallInfo = __ptrace_syscall_info;

std::string describe(pid_t pid, const SyscallInfo& info) {
    const Call* call = find_call(info.entry.nr);
    if (call == nullptr) return "number-" + std::to_string(info.entry.nr) + " -";
    const auto object = [&]() -> std::string {
        switch (call->names) {
            case Names::descriptor:
                return descriptor_name(pid, info.entry.args[0]);
            case Names::path:
                return read_string(pid, info.entry.args[0]);
            case Names::path_at: {
                const std::string path = read_string(pid, info.entry.args[1]);
                return path.starts_with('/') ? path : descriptor_name(pid, info.entry.args[0]) + "/" + path;
            }
            case Names::nothing:
                break;
        }
        return "-";
    };
    return std::string(call->name) + " " + object();
}

// x86-64's registers, by their place in struct user.
constexpr std::size_t kNumberRegister = offsetof(user, regs.orig_rax);
constexpr std::size_t kResultRegister = offsetof(user, regs.rax);
constexpr std::size_t kArgumentRegisters[] = {offsetof(user, regs.rdi), offsetof(user, regs.rsi),
                                              offsetof(user, regs.rdx), offsetof(user, regs.r10),
                                              offsetof(user, regs.r8),  offsetof(user, regs.r9)};

constexpr std::uint64_t kNoCall = ~std::uint64_t{0};  // as a call's number: carry none out

void poke(pid_t pid, std::size_t where, std::uint64_t value) {
    if (::ptrace(PTRACE_POKEUSER, pid, where, value) < 0) fail("cannot set a register");
}

// Runs one command under ptrace.
class Tracer {
public:
    explicit Tracer(const Options& options) : options_(options), counting_(options.after.empty()) {}

    // The wait status of the command.
    int run() {
        main_ = ::fork();
        if (main_ < 0) fail("cannot fork");
        if (main_ == 0) become_command();
        int status = 0;
        if (::waitpid(main_, &status, 0) < 0) fail("cannot wait for the command");
        if (!WIFSTOPPED(status)) throw std::runtime_error("the command did not start");
        constexpr long kTrace = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                                PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
        if (::ptrace(PTRACE_SETOPTIONS, main_, 0, kTrace) < 0) fail("cannot trace the command");
        tasks_[main_];
        resume(main_, 0);
        while (const pid_t pid = ::waitpid(-1, &status, __WALL)) {
            if (pid < 0 && errno == EINTR) continue;
            if (pid < 0) break;  // ECHILD: all have ended
            if (WIFSTOPPED(status)) {
                on_stop(pid, status);
            } else {
                tasks_.erase(pid);
                if (pid == main_) main_status_ = status;
            }
        }
        return main_status_;
    }

    void write_report(std::ostream& out) const {
        for (const std::string& line : lines_) out << "call " << line << '\n';
        out << "count " << count_ << '\n';
        if (WIFSIGNALED(main_status_)) {
            out << "signal " << WTERMSIG(main_status_) << '\n';
        } else {
            out << "status " << WEXITSTATUS(main_status_) << '\n';
        }
    }

private:
    struct Task {
        bool started = false;  // the stop with which a new thread or process begins has passed
        bool starts_counting = false;
        std::optional<int> result;  // errno to return from the call under way
    };

    [[noreturn]] void become_command() const {
        if (::ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 && ::raise(SIGSTOP) == 0)
            ::execvp(options_.command[0], options_.command.data());
        std::perror(options_.command[0]);
        ::_exit(kOwnFailure);
    }

    void on_stop(pid_t pid, int status) {
        Task& task = tasks_[pid];
        const int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80)) {
            on_syscall(pid, task);
        } else if (status >> 16 != 0) {  // a clone, fork or exec, reported by its maker
            if (status >> 16 == PTRACE_EVENT_EXEC) execed_ = true;
            resume(pid, 0);
        } else if (signal == SIGSTOP && !task.started && pid != main_) {
            task.started = true;
            resume(pid, 0);
        } else {
            resume(pid, signal);
        }
    }

    void on_syscall(pid_t pid, Task& task) {
        SyscallInfo info{};
        // Gone already if something else killed it.
        if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0) return;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            if (!on_entry(pid, task, info)) return;
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
            if (task.result) poke(pid, kResultRegister, static_cast<std::uint64_t>(-*task.result));
            task.result.reset();
            if (task.starts_counting) counting_ = true;
        }
        resume(pid, 0);
    }

    // False if all were killed.
    bool on_entry(pid_t pid, Task& task, const SyscallInfo& info) {
        if (!execed_) return true;
        if (!counting_) {
            task.starts_counting = opens_awaited(pid, info);
            return true;
        }
        const Call* call = find_call(info.entry.nr);
        if (!counts(call, info)) return true;
        if (!options_.under.empty() && describe(pid, info).find(options_.under) == std::string::npos) return true;
        ++count_;
        const bool hit = count_ == options_.at;
        if (hit || options_.list) lines_.push_back(std::to_string(count_) + " " + describe(pid, info));
        if (options_.fail) {
            if (hit || (options_.on && options_.at > 0 && count_ > options_.at)) {
                poke(pid, kNumberRegister, kNoCall);
                task.result = options_.fail;
            }
        } else if (hit && options_.make_short && call != nullptr) {
            const auto length = static_cast<std::size_t>(call->short_length);
            poke(pid, kArgumentRegisters[length], std::max<std::uint64_t>(info.entry.args[length] / 2, 1));
        } else if (hit && options_.signal) {
            ::kill(main_, *options_.signal);
        } else if (hit) {
            poke(pid, kNumberRegister, kNoCall);
            for (const auto& each : tasks_) ::kill(each.first, SIGKILL);
            return false;
        }
        return true;
    }

    bool counts(const Call* call, const SyscallInfo& info) const {
        const bool any = !options_.changes && !options_.fail && !options_.make_short;
        if (any || call == nullptr) return any;
        if (call->modifies != nullptr && !call->modifies(info.entry.args)) return false;
        if (options_.make_short) return call->short_length >= 0;
        if (options_.fail && call->names == Names::descriptor && info.entry.args[0] <= STDERR_FILENO) return false;
        return options_.changes || call->can_fail;
    }

    bool opens_awaited(pid_t pid, const SyscallInfo& info) const {
        if (info.entry.nr != SYS_openat && info.entry.nr != SYS_open) return false;
        return read_string(pid, info.entry.args[info.entry.nr == SYS_openat ? 1 : 0]).ends_with(options_.after);
    }

    static void resume(pid_t pid, int signal) {
        if (::ptrace(PTRACE_SYSCALL, pid, 0, signal) < 0 && errno != ESRCH) fail("cannot go on with the command");
    }

    const Options& options_;
    pid_t main_ = 0;
    int main_status_ = 0;
    std::map<pid_t, Task> tasks_;
    bool execed_ = false;
    bool counting_;
    std::uint64_t count_ = 0;
    std::vector<std::string> lines_;
};

int run(int argc, char** argv) {
    const Options options = read_options(argc, argv);
    Tracer tracer(options);
    const int status = tracer.run();
    if (!options.report.empty()) {
        std::ofstream file(options.report);
        tracer.write_report(file);
        file.close();
        if (!file) fail("cannot write " + options.report);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace
}  // namespace roost::fault

int main(int argc, char** argv) {
    try {
        return roost::fault::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "roost-kill: " << error.what() << '\n';
        return roost::fault::kOwnFailure;
    }
}
