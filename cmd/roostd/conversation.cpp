#include "conversation.h"

namespace roost {

Conversation::Next Conversation::go_on(std::span<char> buffer, std::chrono::milliseconds patience) {
    using State = net::Connection::Read::State;
    while (true) {
        const net::Connection::Read read = connection_.read(buffer);
        if (read.state == State::end) return Next::end;
        if (read.state == State::data) {
            if (!take({buffer.data(), read.size})) return Next::end;
        } else if (!connection_.wait(deadline().at_most(patience))) {
            return Next::wait;
        }
        // Whoever keeps sending a little has no more time than whoever is silent.
        if (deadline().expired()) {
            time_out();
            return Next::end;
        }
        if (service_.stopping() && idle()) {
            shut_down();
            return Next::end;
        }
    }
}

}  // namespace roost
