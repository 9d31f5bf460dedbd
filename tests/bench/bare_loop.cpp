// What a durable delivery asks of the disk, and no more: create in tmp/, write, fsync, rename to new/, fsync new/.
//
//   bare_loop DIR THREADS SECONDS BYTES
//
// Each thread has a Maildir of its own. Prints "messages/s median-ms p99-ms messages".
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

void must(bool good, const char* what) {
    if (good) return;
    std::perror(what);
    std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fputs("usage: bare_loop DIR THREADS SECONDS BYTES\n", stderr);
        return 64;
    }
    const std::string top = argv[1];
    const int threads = std::atoi(argv[2]);
    const double seconds = std::atof(argv[3]);
    const std::string bytes(static_cast<std::size_t>(std::atol(argv[4])), 'x');
    static int run = static_cast<int>(::getpid());
    std::mutex mutex;
    std::vector<double> all;
    const auto begin = Clock::now();
    const auto until = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t)
        running.emplace_back([&, t] {
            const std::string dir = top + "/bare." + std::to_string(run) + "." + std::to_string(t);
            must(::mkdir(dir.c_str(), 0700) == 0, "mkdir");
            must(::mkdir((dir + "/tmp").c_str(), 0700) == 0, "mkdir");
            must(::mkdir((dir + "/new").c_str(), 0700) == 0, "mkdir");
            const int fresh = ::open((dir + "/new").c_str(), O_RDONLY | O_DIRECTORY);
            std::vector<double> own;
            for (int i = 0; Clock::now() < until; ++i) {
                const auto start = Clock::now();
                const std::string name = std::to_string(i);
                const int fd = ::open((dir + "/tmp/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
                must(fd >= 0, "open");
                must(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "write");
                must(::fsync(fd) == 0, "fsync");
                ::close(fd);
                must(::rename((dir + "/tmp/" + name).c_str(), (dir + "/new/" + name).c_str()) == 0, "rename");
                must(::fsync(fresh) == 0, "fsync");
                own.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
            }
            ::close(fresh);
            const std::lock_guard guard(mutex);
            all.insert(all.end(), own.begin(), own.end());
        });
    for (std::thread& thread : running) thread.join();
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    std::sort(all.begin(), all.end());
    std::printf("%.0f %.2f %.2f %zu\n", static_cast<double>(all.size()) / took, all[all.size() / 2],
                all[all.size() * 99 / 100], all.size());
    return 0;
}
