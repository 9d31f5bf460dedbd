#include "lmtp/command.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace roost::lmtp {
namespace {

constexpr std::array kVerbs{
    std::pair{std::string_view("LHLO"), Verb::lhlo},          std::pair{std::string_view("MAIL"), Verb::mail},
    std::pair{std::string_view("RCPT"), Verb::rcpt},          std::pair{std::string_view("DATA"), Verb::data},
    std::pair{std::string_view("BDAT"), Verb::bdat},          std::pair{std::string_view("RSET"), Verb::rset},
    std::pair{std::string_view("NOOP"), Verb::noop},          std::pair{std::string_view("QUIT"), Verb::quit},
    std::pair{std::string_view("VRFY"), Verb::vrfy},          std::pair{std::string_view("EXPN"), Verb::expn},
    std::pair{std::string_view("HELP"), Verb::help},          std::pair{std::string_view("HELO"), Verb::helo_or_ehlo},
    std::pair{std::string_view("EHLO"), Verb::helo_or_ehlo},  std::pair{std::string_view("STARTTLS"), Verb::starttls},
    std::pair{std::string_view("XCLIENT"), Verb::xclient},    std::pair{std::string_view("XFORWARD"), Verb::xforward},
    std::pair{std::string_view("GET"), Verb::of_the_web},     std::pair{std::string_view("HEAD"), Verb::of_the_web},
    std::pair{std::string_view("POST"), Verb::of_the_web},    std::pair{std::string_view("PUT"), Verb::of_the_web},
    std::pair{std::string_view("PATCH"), Verb::of_the_web},   std::pair{std::string_view("DELETE"), Verb::of_the_web},
    std::pair{std::string_view("OPTIONS"), Verb::of_the_web}, std::pair{std::string_view("CONNECT"), Verb::of_the_web},
};

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// esmtp-keyword and esmtp-value, RFC 5321 section 4.1.2, RFC 6531 section 3.3.
bool is_keyword(std::string_view text) {
    return !text.empty() && is_alphanumeric(text.front()) &&
           std::all_of(text.begin(), text.end(), [](char c) { return is_alphanumeric(c) || c == '-'; });
}
bool is_value(std::string_view text) {
    return !text.empty() &&
           std::none_of(text.begin(), text.end(), [](char c) { return is_control(c) || c == ' ' || c == '='; });
}

Reply bad_syntax(std::string text) { return {501, "5.5.2", std::move(text)}; }
Reply bad_parameter(std::string text) { return {501, "5.5.4", std::move(text)}; }
Reply unknown_parameter(std::string_view keyword) {
    return {555, "5.5.4", "The parameter " + std::string(keyword) + " is not known here"};
}

// Where the bracket is that closes the path; only a quoted string may hold a blank or a bracket (RFC 5321 section
// 4.1.2).
std::size_t end_of_path(std::string_view text) {
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (quoted && text[i] == '\\')
            ++i;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (text[i] == '>' && !quoted)
            return i;
        else if ((text[i] == '<' || text[i] == ' ') && !quoted)
            break;
    }
    return std::string_view::npos;
}

// "@one,@two:mailbox" -> "mailbox". nullopt: it begins as a source route and is none, or leads nowhere.
std::optional<std::string_view> without_route(std::string_view path) {
    if (!path.starts_with('@')) return path;
    const std::size_t colon = path.find(':');
    if (colon == std::string_view::npos || path.substr(0, colon).find_first_of("\"<> ") != std::string_view::npos)
        return std::nullopt;
    const std::string_view mailbox = path.substr(colon + 1);
    if (mailbox.empty()) return std::nullopt;  // "<@one:>" is not the null sender
    return mailbox;
}

Parsed<std::vector<Parameter>> parse_parameters(std::string_view text) {
    std::vector<Parameter> out;
    for (text = trim(text); !text.empty(); text = trim(text)) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(word.size());
        const std::size_t equals = word.find('=');
        Parameter parameter{word.substr(0, equals), std::nullopt};
        if (equals != std::string_view::npos) parameter.value = word.substr(equals + 1);
        // ORCPT and ENVID hold no "=" either: xtext encodes it.
        if (!is_keyword(parameter.keyword) || (parameter.value && !is_value(*parameter.value)))
            return bad_parameter("A parameter is KEYWORD or KEYWORD=value, not " + std::string(word));
        for (const Parameter& earlier : out)
            if (same_word(earlier.keyword, parameter.keyword))
                return bad_parameter("The parameter " + std::string(parameter.keyword) + " stands twice");
        out.push_back(parameter);
    }
    return out;
}

// size-value, RFC 1870 section 5: 1 to 20 digits.
std::optional<std::uint64_t> parse_size(std::string_view text) {
    constexpr std::size_t kMostDigits = 20;
    if (text.empty() || text.size() > kMostDigits || text.find_first_not_of("0123456789") != std::string_view::npos)
        return std::nullopt;
    std::uint64_t out = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
    return read.ec == std::errc::result_out_of_range ? UINT64_MAX : out;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

void append_utf8(std::string& out, std::uint32_t point) {
    const auto tail = [&](unsigned shift) { out += static_cast<char>(0x80U | ((point >> shift) & 0x3fU)); };
    if (point < 0x80) {
        out += static_cast<char>(point);
    } else if (point < 0x800) {
        out += static_cast<char>(0xc0U | (point >> 6U));
        tail(0);
    } else if (point < 0x10000) {
        out += static_cast<char>(0xe0U | (point >> 12U));
        tail(6);
        tail(0);
    } else {
        out += static_cast<char>(0xf0U | (point >> 18U));
        tail(12);
        tail(6);
        tail(0);
    }
}

// The "\x{HEX}" of utf-8-addr-xtext, RFC 6533 section 3. Surrogates and what lies beyond Unicode fail the caller's
// check for UTF-8.
std::optional<std::string> decode_points(std::string_view text) {
    constexpr std::string_view kBegin = "\\x{";
    constexpr std::uint32_t kLastPoint = 0x10ffff;
    std::string out;
    while (!text.empty()) {
        if (!text.starts_with(kBegin)) {
            out += text.front();
            text.remove_prefix(1);
            continue;
        }
        const std::size_t close = text.find('}');
        if (close == std::string_view::npos || close == kBegin.size()) return std::nullopt;
        std::uint32_t point = 0;
        for (const char c : text.substr(kBegin.size(), close - kBegin.size())) {
            const int digit = hex_digit(c);
            if (digit < 0) return std::nullopt;
            point = point * 16 + static_cast<std::uint32_t>(digit);
            if (point > kLastPoint) return std::nullopt;
        }
        append_utf8(out, point);
        text.remove_prefix(close + 1);
    }
    return out;
}

// original-recipient-address, RFC 3461 section 4.2: "TYPE;address". Remote senders write it, MTAs pass on what they do
// not understand, and Postfix makes "rfc822" with UTF-8 of its own: what is no address that can be used is left out.
Parsed<RcptParameters> parse_original(std::string_view value) {
    constexpr std::size_t kLongest = 500;
    const std::size_t semicolon = value.find(';');
    const std::string_view type = value.substr(0, semicolon);
    if (semicolon == std::string_view::npos || !is_keyword(type))
        return bad_parameter("ORCPT is TYPE;address in xtext");
    const std::string_view encoded = value.substr(semicolon + 1);
    const bool utf8 = same_word(type, "utf-8");
    std::optional<std::string> address;
    if (utf8 && has_8bit(encoded))
        address = encoded;  // utf-8-addr-unitext
    else
        address = decode_xtext(encoded);
    if (!address || address->empty()) return bad_parameter("ORCPT is TYPE;address in xtext");
    if (utf8) address = decode_points(*address);
    if (!utf8 && !same_word(type, "rfc822")) return RcptParameters{};
    const bool usable = address && value.size() <= kLongest && is_utf8(*address) &&
                        std::none_of(address->begin(), address->end(), is_control);
    return usable ? RcptParameters{std::move(address)} : RcptParameters{};
}

// notify-esmtp-value, RFC 3461 section 4.1.
bool is_notify(std::string_view value) {
    if (same_word(value, "NEVER")) return true;
    for (bool more = true; more;) {
        const std::size_t comma = value.find(',');
        const std::string_view word = value.substr(0, comma);
        if (!same_word(word, "SUCCESS") && !same_word(word, "FAILURE") && !same_word(word, "DELAY")) return false;
        more = comma != std::string_view::npos;
        if (more) value.remove_prefix(comma + 1);
    }
    return true;
}

// Sets one of MAIL's parameters, or says what is wrong with it.
std::optional<Reply> take(const Parameter& parameter, bool dsn, MailParameters& out) {
    constexpr std::size_t kLongestId = 100;  // RFC 3461 section 4.4
    const std::string_view keyword = parameter.keyword;
    const std::string_view value = parameter.value.value_or(std::string_view());
    if (same_word(keyword, "SIZE")) {
        const auto size = parse_size(value);
        if (!size) return bad_parameter("SIZE is a number of at most 20 digits");
        out.size = *size;
    } else if (same_word(keyword, "BODY")) {
        if (same_word(value, "BINARYMIME")) return Reply{555, "5.5.4", "BODY=BINARYMIME is not offered here"};
        if (!same_word(value, "7BIT") && !same_word(value, "8BITMIME"))
            return bad_parameter("BODY is 7BIT or 8BITMIME");
    } else if (same_word(keyword, "SMTPUTF8")) {
        if (parameter.value) return bad_parameter("SMTPUTF8 has no value");
        out.utf8 = true;
    } else if (dsn && same_word(keyword, "RET")) {
        if (!same_word(value, "FULL") && !same_word(value, "HDRS")) return bad_parameter("RET is FULL or HDRS");
    } else if (dsn && same_word(keyword, "ENVID")) {
        if (value.empty() || value.size() > kLongestId || !decode_xtext(value))
            return bad_parameter("ENVID is at most 100 characters of xtext");
    } else {
        return unknown_parameter(keyword);
    }
    return std::nullopt;
}

}  // namespace

bool same_word(std::string_view text, std::string_view word) {
    const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; };
    return text.size() == word.size() &&
           std::equal(text.begin(), text.end(), word.begin(), [&](char a, char b) { return upper(a) == upper(b); });
}

bool has_8bit(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

Command parse_command(std::string_view line) {
    const std::string_view word = line.substr(0, line.find(' '));
    for (const auto& [name, verb] : kVerbs)
        if (same_word(word, name)) return {verb, trim(line.substr(word.size()))};
    return {};
}

Parsed<PathLine> parse_path_line(std::string_view arguments, std::string_view keyword) {
    if (!same_word(arguments.substr(0, keyword.size()), keyword))
        return bad_syntax(std::string(keyword) + "<address> must follow");
    std::string_view rest = trim(arguments.substr(keyword.size()));
    if (!rest.starts_with('<')) return bad_syntax("The address must stand in angle brackets");
    rest.remove_prefix(1);
    const std::size_t end = end_of_path(rest);
    if (end == std::string_view::npos)
        return bad_syntax("The address does not end as it should, with an angle bracket");
    const auto mailbox = without_route(rest.substr(0, end));
    if (!mailbox) return bad_syntax("The source route before the address is malformed");
    rest.remove_prefix(end + 1);
    if (!rest.empty() && rest.front() != ' ') return bad_syntax("A blank must follow the angle bracket");
    auto parameters = parse_parameters(rest);
    if (auto* refused = std::get_if<Reply>(&parameters)) return std::move(*refused);
    return PathLine{*mailbox, std::get<0>(std::move(parameters))};
}

Parsed<MailParameters> parse_mail_parameters(const std::vector<Parameter>& parameters, bool dsn) {
    MailParameters out;
    for (const Parameter& parameter : parameters)
        if (auto refused = take(parameter, dsn, out)) return *std::move(refused);
    return out;
}

Parsed<RcptParameters> parse_rcpt_parameters(const std::vector<Parameter>& parameters, bool dsn) {
    RcptParameters out;
    for (const auto& [keyword, value] : parameters) {
        if (dsn && same_word(keyword, "ORCPT")) {
            auto original = parse_original(value.value_or(std::string_view()));
            if (auto* refused = std::get_if<Reply>(&original)) return std::move(*refused);
            out = std::get<0>(std::move(original));
        } else if (dsn && same_word(keyword, "NOTIFY")) {
            if (!is_notify(value.value_or(std::string_view())))
                return bad_parameter("NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY");
        } else {
            return unknown_parameter(keyword);
        }
    }
    return out;
}

std::optional<Chunk> parse_chunk(std::string_view arguments) {
    Chunk out;
    const std::string_view digits = arguments.substr(0, arguments.find(' '));
    const std::string_view rest = trim(arguments.substr(digits.size()));
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), out.octets).ec != std::errc())
        return std::nullopt;
    out.last = same_word(rest, "LAST");
    if (!rest.empty() && !out.last) return std::nullopt;
    return out;
}

std::optional<std::string> decode_xtext(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c < '!' || c > '~' || c == '=') return std::nullopt;
        if (c != '+') {
            out += c;
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) return std::nullopt;
        out += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return out;
}

}  // namespace roost::lmtp
