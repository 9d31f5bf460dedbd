#include "mail/modified_utf7.h"

#include <cstdint>

namespace roost {
namespace {

// Base 64 as RFC 3501 section 5.1.3 has it: "," in place of "/".
constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

// The code point that begins at `at`, which moves past it. The text is
// well-formed UTF-8.
char32_t next_code_point(std::string_view utf8, std::size_t& at) {
    const auto lead = static_cast<unsigned char>(utf8[at++]);
    if (lead < 0x80) return lead;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    char32_t point = lead & (0x3fU >> more);
    for (int i = 0; i < more && at < utf8.size(); ++i)
        point = (point << 6U) | (static_cast<unsigned char>(utf8[at++]) & 0x3fU);
    return point;
}

// Collects 16-bit units and writes them as one shifted run: "&", base 64
// without padding, "-".
class ShiftedRun {
public:
    explicit ShiftedRun(std::string& out) : out_(out) {}

    void add(char32_t point) {
        if (!open_) out_ += '&';
        open_ = true;
        if (point >= 0x10000) {  // a surrogate pair, RFC 2781 section 2.1
            point -= 0x10000;
            unit(0xd800 | (point >> 10U));
            unit(0xdc00 | (point & 0x3ffU));
        } else {
            unit(point);
        }
    }
    void close() {
        if (!open_) return;
        if (count_ > 0) out_ += kBase64[(bits_ << (6 - count_)) & 0x3fU];
        out_ += '-';
        bits_ = 0;
        count_ = 0;
        open_ = false;
    }

private:
    void unit(char32_t value) {
        bits_ = (bits_ << 16U) | value;
        for (count_ += 16; count_ >= 6; count_ -= 6) out_ += kBase64[(bits_ >> (count_ - 6)) & 0x3fU];
    }

    std::string& out_;
    bool open_ = false;
    std::uint64_t bits_ = 0;
    unsigned count_ = 0;  // of the lowest bits in bits_ that are not written yet
};

}  // namespace

std::string to_modified_utf7(std::string_view utf8) {
    std::string out;
    ShiftedRun run(out);
    for (std::size_t at = 0; at < utf8.size();) {
        const char32_t point = next_code_point(utf8, at);
        if (point < 0x20 || point > 0x7e) {
            run.add(point);
            continue;
        }
        run.close();
        out += static_cast<char>(point);
        if (point == '&') out += '-';
    }
    run.close();
    return out;
}

}  // namespace roost
