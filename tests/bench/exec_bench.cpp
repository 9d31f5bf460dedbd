// Times whole commands against each other: each round runs every command, in an order drawn anew, so that whatever else
// the machine does meets all of them alike. Each runs twice in a row, and the second run counts: a server runs one
// command again and again, and does not find its caches full of another's.
//
//   roost-bench-exec ROUNDS MESSAGE NAME COMMAND [ARG...] [-- NAME COMMAND [ARG...]]...
//
// Every command gets the file MESSAGE as standard input and must exit with 0. Prints, for each, the wall time's
// minimum, median and 90th percentile, the peak memory, and the median of its ratio to the first one, round by round.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves declaring it to the program

namespace {

struct Command {
    std::string name;
    std::vector<char*> argv;  // ends with a null pointer, as execve wants it
    std::vector<double> ms;
    long peak_kib = 0;
};

// Runs the command once; false if it did not exit with 0.
bool run(Command& command, const char* message) {
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, message, O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    const auto begin = std::chrono::steady_clock::now();
    const int failed = ::posix_spawnp(&pid, command.argv[0], &files, nullptr, command.argv.data(), environ);
    int status = -1;
    rusage usage{};
    if (failed == 0) ::wait4(pid, &status, 0, &usage);
    const auto span = std::chrono::steady_clock::now() - begin;
    ::posix_spawn_file_actions_destroy(&files);
    command.ms.push_back(std::chrono::duration<double, std::milli>(span).count());
    command.peak_kib = std::max(command.peak_kib, usage.ru_maxrss);
    if (failed == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    std::fprintf(stderr, "%s failed: status %d\n", command.name.c_str(), failed != 0 ? failed : status);
    return false;
}

double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

std::vector<Command> read_commands(int argc, char** argv) {
    std::vector<Command> commands;
    for (int i = 3; i < argc; ++i) {
        Command command;
        command.name = argv[i++];
        for (; i < argc && std::string(argv[i]) != "--"; ++i) command.argv.push_back(argv[i]);
        if (command.argv.empty()) continue;
        command.argv.push_back(nullptr);
        commands.push_back(std::move(command));
    }
    return commands;
}

}  // namespace

int main(int argc, char** argv) {
    const long rounds = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
    std::vector<Command> commands = read_commands(argc, argv);
    if (rounds < 1 || commands.empty()) {
        std::fputs("usage: roost-bench-exec ROUNDS MESSAGE NAME COMMAND [ARG...] [-- NAME COMMAND [ARG...]]...\n",
                   stderr);
        return 64;
    }
    std::vector<std::size_t> order(commands.size());
    std::iota(order.begin(), order.end(), 0);
    std::minstd_rand random;
    for (long round = -3; round < rounds; ++round) {  // three rounds to warm up
        std::shuffle(order.begin(), order.end(), random);
        for (const std::size_t i : order) {
            Command& command = commands[i];
            if (!run(command, argv[2])) return 1;
            command.ms.pop_back();
            if (!run(command, argv[2])) return 1;
            if (round < 0) command.ms.clear();
        }
    }
    std::printf("%-16s %8s %8s %8s %10s %10s\n", "command", "min ms", "median", "p90", "peak KiB", "ratio");
    for (const Command& command : commands) {
        std::vector<double> ratios;
        for (std::size_t i = 0; i < command.ms.size(); ++i) ratios.push_back(command.ms[i] / commands[0].ms[i]);
        std::printf("%-16s %8.2f %8.2f %8.2f %10ld %10.2f\n", command.name.c_str(), quantile(command.ms, 0),
                    quantile(command.ms, 0.5), quantile(command.ms, 0.9), command.peak_kib, quantile(ratios, 0.5));
    }
    return 0;
}
