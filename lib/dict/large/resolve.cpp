#include "dict/large/resolve.h"

#include <netdb.h>

#include <cstring>
#include <future>
#include <thread>

#include "base/text.h"

namespace roost {
namespace {

Error unresolved(const std::string& host, std::string why) {
    return {Outcome::trouble, "cannot resolve " + printable(host), "cannot resolve the name: " + std::move(why),
            "check host= and the resolver", 0};
}

Result<std::vector<SocketAddress>> ask_resolver(const std::string& host, const std::string& port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    if (const int failure = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failure != 0)
        return unresolved(host, ::gai_strerror(failure));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
    std::vector<SocketAddress> out;
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        SocketAddress& address = out.emplace_back();
        std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
        address.size = entry->ai_addrlen;
    }
    return out;
}

}  // namespace

Result<std::vector<SocketAddress>> resolve(const std::string& host, const std::string& port, Deadline deadline) {
    std::packaged_task<Result<std::vector<SocketAddress>>()> task([host, port] { return ask_resolver(host, port); });
    auto answer = task.get_future();
    std::thread(std::move(task)).detach();
    if (answer.wait_for(deadline.remaining()) != std::future_status::ready)
        return unresolved(host, "no answer in time");
    return answer.get();
}

}  // namespace roost
