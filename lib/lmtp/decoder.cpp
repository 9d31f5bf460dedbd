#include "lmtp/decoder.h"

#include <algorithm>
#include <cstring>

namespace roost::lmtp {

DataDecoder::Step DataDecoder::decode(std::string_view in, std::span<char> out) {
    // Each byte gives one at most; one more may be a CR that was held back.
    const char* next = in.data();
    const char* const end = next + std::min(in.size(), out.size() - 1);
    char* made = out.data();
    bool ended = false;
    while (next != end && !ended) {
        switch (state_) {
            case State::line:
                state_ = State::text;
                if (dotted_ && *next == '.') {
                    ++next;
                    state_ = State::dot;
                }
                break;
            case State::text: {
                const auto* cr =
                    static_cast<const char*>(std::memchr(next, '\r', static_cast<std::size_t>(end - next)));
                const auto length = static_cast<std::size_t>((cr != nullptr ? cr : end) - next);
                std::memcpy(made, next, length);
                made += length;
                next += length;
                if (cr == nullptr) break;
                ++next;
                state_ = State::cr;
                break;
            }
            case State::cr:
                if (*next == '\n') {
                    *made++ = *next++;
                    ++octets_;  // the CR
                    state_ = State::line;
                    break;
                }
                *made++ = '\r';
                if (*next == '\r')
                    ++next;  // which may in turn be half of a line end
                else
                    state_ = State::text;
                break;
            case State::dot:
                state_ = State::text;
                if (*next == '\r') {
                    ++next;
                    state_ = State::dot_cr;
                }
                break;
            case State::dot_cr:
                ended = *next == '\n';
                if (ended) ++next;
                state_ = ended ? State::line : State::cr;
                break;
        }
    }
    const auto length = static_cast<std::size_t>(made - out.data());
    octets_ += length;
    return {static_cast<std::size_t>(next - in.data()), length, ended};
}

std::string_view DataDecoder::finish() {
    if (state_ != State::cr) return {};
    state_ = State::text;
    ++octets_;
    return "\r";
}

}  // namespace roost::lmtp
