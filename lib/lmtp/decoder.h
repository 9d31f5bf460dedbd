// Turns what follows DATA and BDAT into the message's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace roost::lmtp {

// CRLF becomes LF, and with `dotted` the first dot of a line is taken away and CRLF.CRLF ends the data (RFC 5321
// section 4.5.2). A line begins behind CRLF and nowhere else: a bare CR or LF is text like any other byte, so no
// mixture of them can end the data where another server would not (RFC 5321 section 2.3.8). All else stays as it came.
class DataDecoder {
public:
    enum class Framing {
        dotted,   // DATA
        counted,  // BDAT: the caller knows where the data ends
    };
    explicit DataDecoder(Framing framing)
        : state_(framing == Framing::dotted ? State::line : State::text), dotted_(framing == Framing::dotted) {}

    struct Step {
        std::size_t taken = 0;
        std::size_t made = 0;
        bool ended = false;  // the final dot was seen; what follows it was not taken
    };
    // Takes up to out.size() - 1 bytes of `in` and writes what they give into `out`, of at least 2 bytes.
    Step decode(std::string_view in, std::span<char> out);

    // The end of counted data: what was held back, which is a lone CR or nothing.
    std::string_view finish();

    // The message's size in the terms of RFC 1870 section 5: line ends count as two octets, stuffed dots not at all.
    std::uint64_t octets() const { return octets_; }

private:
    enum class State {
        line,    // at the beginning of a line
        text,    // within a line
        cr,      // behind a CR that may be half of a line end
        dot,     // behind the dot that a line began with
        dot_cr,  // behind that and a CR
    };
    State state_;
    bool dotted_;
    std::uint64_t octets_ = 0;
};

}  // namespace roost::lmtp
