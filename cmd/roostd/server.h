// Accepts connections and looks after them: whoever has something to say gets a thread, everybody else waits for free.
#pragma once

#include "conversation.h"
#include "net/listener.h"
#include "service.h"
#include "workers.h"

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace roost {

// A socket, and what is spoken there.
struct Door {
    enum class Speaks { lmtp, policy };
    net::Listener listener;
    Speaks speaks = Speaks::lmtp;
};

class Server {
public:
    // What the signals ask for. Runs in the thread of run().
    using Reload = std::function<void()>;

    // `signals`: of signalfd(2), for SIGHUP, SIGTERM and SIGINT, which all threads block.
    Server(Service& service, int signals, Reload reload);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Listens on these from now on, and on no others. Not from other threads than run().
    Result<void> listen(std::vector<Door> doors);
    std::vector<Door>& doors() { return doors_; }

    // Until SIGTERM or SIGINT, when `on_stop` is called, and then until the transactions under way have ended,
    // lmtp.shutdown-timeout has passed or the signal came again. False: some were cut off, and their threads may still
    // run.
    bool run(const std::function<void()>& on_stop);

private:
    // One connection, counted as long as it lasts. `busy` while a worker has it.
    struct Client {
        Client(std::unique_ptr<Conversation> conversation, std::size_t& counter)
            : talk(std::move(conversation)), count(counter) {
            ++count;
        }
        Client(const Client&) = delete;
        Client& operator=(const Client&) = delete;
        ~Client() { --count; }
        std::unique_ptr<Conversation> talk;
        std::size_t& count;
        bool busy = false;
    };

    void accept(Door& door);
    void welcome(net::Listener::Accepted accepted, Door::Speaks speaks);
    void wake(int fd);
    void serve(Client& client, std::span<char> buffer);
    void look_after();
    void watch_doors(bool on);
    void handle_events(int timeout_ms, bool& stop, bool& stop_now);

    Service& service_;
    int signals_;
    Reload reload_;
    Fd epoll_;
    std::vector<Door> doors_;
    bool accepting_ = true;
    std::mutex mutex_;
    std::array<std::size_t, 2> counts_{};                       // of clients, by what they speak
    std::unordered_map<int, std::unique_ptr<Client>> clients_;  // by descriptor
    Workers workers_;
};

}  // namespace roost
