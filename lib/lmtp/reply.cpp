#include "lmtp/reply.h"

#include "base/text.h"
#include "lmtp/session.h"

#include <algorithm>
#include <vector>

namespace roost::lmtp {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

bool is_8bit(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; }

// Without what cannot stand in a line of text.
std::string presentable(std::string_view text, bool utf8) {
    std::string blanked(text);
    std::replace_if(blanked.begin(), blanked.end(), is_control, ' ');
    std::string clean = printable(blanked);
    if (utf8 || std::none_of(clean.begin(), clean.end(), is_8bit)) return clean;
    std::string out;
    for (const char c : clean) {
        if (continues_character(c)) continue;
        out += is_8bit(c) ? '?' : c;
    }
    return out;
}

// `text`, well-formed UTF-8, in at most `room` octets.
std::string_view cut(std::string_view text, std::size_t room) {
    if (text.size() <= room) return text;
    while (room > 0 && continues_character(text[room])) --room;
    return trim(text.substr(0, room));
}

// A host name in at most `room` octets: its first labels tell most.
std::string_view cut_host(std::string_view host, std::size_t room) {
    if (host.size() <= room) return host;
    const std::size_t dot = host.rfind('.', room);
    return host.substr(0, dot == std::string_view::npos || dot == 0 ? room : dot);
}

}  // namespace

Reply reply_of(const Answer& answer, std::string_view success, std::string text) {
    const OutcomeRow& row = row_of(answer.outcome);
    Reply out{answer.code != 0 ? answer.code : row.reply_code, answer.enhanced, std::move(text)};
    if (!out.enhanced.empty()) return out;
    if (answer.outcome == Outcome::delivered)
        out.enhanced = success;
    else if (out.code == row.reply_code)
        out.enhanced = row.enhanced;
    else
        out.enhanced = out.code >= 500 ? "5.0.0" : "4.0.0";
    return out;
}

std::string render(const Reply& reply, bool utf8) {
    std::string out = std::to_string(reply.code);
    if (!reply.enhanced.empty()) out += " " + reply.enhanced;
    out += ' ';
    out += cut(presentable(reply.text, utf8), kMaxReply - out.size() - kLineEnd.size());
    return out += kLineEnd;
}

std::string render_greeting(std::string_view host) {
    constexpr std::string_view kRest = " LMTP Roost\r\n";
    std::string out = "220 ";
    const std::string clean = presentable(host, false);
    return out.append(cut_host(clean, kMaxReply - out.size() - kRest.size())).append(kRest);
}

std::string render_capabilities(std::string_view host, const Capabilities& capabilities) {
    std::vector<std::string> lines{"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "CHUNKING"};
    lines.push_back(capabilities.size.empty() ? "SIZE" : "SIZE " + capabilities.size);
    if (capabilities.starttls) lines.emplace_back("STARTTLS");
    if (capabilities.dsn) lines.emplace_back("DSN");
    // The attributes that the session has a use for; the others are taken as well.
    if (capabilities.forwarding) {
        lines.emplace_back("XCLIENT NAME ADDR HELO");
        lines.emplace_back("XFORWARD NAME ADDR HELO IDENT");
    }
    std::string rest(kLineEnd);
    for (const std::string& line : lines)
        rest.append(&line == &lines.back() ? "250 " : "250-").append(line).append(kLineEnd);
    std::string out = "250-";
    const std::string clean = presentable(host, false);
    return out.append(cut_host(clean, kMaxReply - out.size() - rest.size())).append(rest);
}

}  // namespace roost::lmtp
