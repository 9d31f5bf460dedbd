#include "unique_name.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>

namespace roost::maildir {
namespace {

std::string escaped_host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    std::string out;
    for (const char* c = name.data(); *c != '\0'; ++c) {
        if (*c == '/')
            out += "\\057";
        else if (*c == ':')
            out += "\\072";
        else
            out += *c;
    }
    return out;
}

}  // namespace

std::string unique_name() {
    static std::atomic<std::uint64_t> counter{0};
    using std::chrono::microseconds;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto micros = std::chrono::duration_cast<microseconds>(now).count();
    constexpr std::int64_t kSecond = 1'000'000;
    return std::to_string(micros / kSecond) + ".M" + std::to_string(micros % kSecond) + "P" +
           std::to_string(::getpid()) + "Q" + std::to_string(++counter) + "." + escaped_host_name();
}

std::string size_tags(std::uint64_t stored, std::uint64_t with_crlf) {
    return ",S=" + std::to_string(stored) + ",W=" + std::to_string(with_crlf);
}

}  // namespace roost::maildir
