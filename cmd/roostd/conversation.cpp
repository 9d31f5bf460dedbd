#include "conversation.h"

namespace roost {

Conversation::Next Conversation::go_on(std::span<char> buffer, std::chrono::milliseconds patience) {
    using State = net::Connection::Read::State;
    for (bool readable = true;; readable = connection_.wait(deadline().at_most(patience))) {
        const auto read = readable ? connection_.read(buffer) : net::Connection::Read{State::later, 0};
        if (read.state == State::end) {
            lost();
            return Next::end;
        }
        if (read.state == State::data && !take({buffer.data(), read.size})) return Next::end;
        // Whoever keeps sending a little has no more time than whoever is silent.
        if (deadline().expired()) {
            time_out();
            return Next::end;
        }
        if (service_.stopping() && idle()) {
            shut_down();
            return Next::end;
        }
        if (!readable) {
            rest();
            return Next::wait;
        }
    }
}

}  // namespace roost
