// What follows DATA and BDAT. Input: a line of piece lengths, the data. The decoder is held against one that is slow
// and plain.
#include "check.h"
#include "lmtp/decoder.h"

#include <array>
#include <string>

using namespace roost;
using namespace roost::lmtp;

namespace {

struct Decoded {
    std::string bytes;
    std::size_t taken = 0;
    std::uint64_t octets = 0;
    bool operator==(const Decoded&) const = default;
};

Decoded plainly(std::string_view in, bool dotted) {
    Decoded out;
    bool line = true;
    while (out.taken < in.size()) {
        const std::string_view rest = in.substr(out.taken);
        if (dotted && line && rest.starts_with(".\r\n")) {
            out.taken += 3;
            return out;
        }
        if (dotted && line && rest.starts_with('.')) {
            ++out.taken;
            line = false;
        } else if (rest.starts_with("\r\n")) {
            out.bytes += '\n';
            out.taken += 2;
            out.octets += 2;
            line = true;
        } else {
            out.bytes += rest.front();
            ++out.taken;
            ++out.octets;
            line = false;
        }
    }
    return out;
}

Decoded by_pieces(std::string_view in, std::string_view lengths, DataDecoder::Framing framing) {
    Decoded out;
    DataDecoder decoder(framing);
    for (std::size_t turn = 0; out.taken < in.size(); ++turn) {
        const std::size_t length =
            lengths.empty() ? in.size() : 1 + static_cast<unsigned char>(lengths[turn % lengths.size()]) % 64;
        std::array<char, 48> piece{};
        const DataDecoder::Step step = decoder.decode(in.substr(out.taken, length), piece);
        check(step.taken > 0 && step.taken <= length && step.made <= step.taken + 1, "the decoder takes something");
        out.bytes.append(piece.data(), step.made);
        out.taken += step.taken;
        if (step.ended) break;
    }
    out.bytes += decoder.finish();
    out.octets = decoder.octets();
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest = text_of(data, size);
    const std::string_view lengths = take_until(rest, '\n');
    const std::string ended = std::string(rest) + "\r\n.\r\n";
    check(by_pieces(ended, lengths, DataDecoder::Framing::dotted) == plainly(ended, true), "DATA is decoded");
    check(by_pieces(rest, lengths, DataDecoder::Framing::counted) == plainly(rest, false), "BDAT is decoded");
    return 0;
}
