#include "dict/proxy_protocol.h"

#include <algorithm>
#include <charconv>

#include "dict/escape.h"

namespace roost {
namespace {

// What each major's newest minor version is: it says what a client understands.
constexpr unsigned minor_of(unsigned major) { return major == 4 ? 0 : 2; }
constexpr bool user_in_hello(unsigned major) { return major == 2; }

// Values are at most what the server's back end holds; a line beyond this is no reply.
constexpr std::size_t kLongestReply = std::size_t(16) << 20U;

std::vector<std::string> fields_of(std::string_view line) {
    std::vector<std::string> fields;
    while (true) {
        const std::size_t tab = line.find('\t');
        fields.push_back(dict_unescaped(line.substr(0, tab)));
        if (tab == std::string_view::npos) return fields;
        line.remove_prefix(tab + 1);
    }
}

// 0: it is none.
unsigned number_of(std::string_view text) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

}  // namespace

std::string proxy_hello(unsigned major, std::string_view name, std::string_view user) {
    // The third field is the type of values, which all drivers have given up: 0 is a string.
    return "H" + std::to_string(major) + "\t" + std::to_string(minor_of(major)) + "\t0\t" +
           (user_in_hello(major) ? dict_escaped(user) : std::string()) + "\t" + dict_escaped(name) + "\n";
}

std::string proxy_lookup(unsigned major, std::string_view user, std::string_view key) {
    std::string out = "L" + dict_escaped(key);
    if (!user_in_hello(major)) out += "\t" + dict_escaped(user);
    return out + "\n";
}

std::string proxy_transaction(unsigned major, unsigned id, const DictTransaction& transaction) {
    const std::string number = std::to_string(id);
    std::string out = "B" + number;
    if (!user_in_hello(major)) out += "\t" + dict_escaped(transaction.user);
    if (major >= 4) out += "\t0";  // seconds after which it is to be forgotten; 0: never
    out += "\n";
    for (const DictChange& change : transaction.changes) {
        const std::string what = number + "\t" + dict_escaped(change.key);
        switch (change.kind) {
            case DictChange::Kind::set:
                out += "S" + what + "\t" + dict_escaped(change.value) + "\n";
                break;
            case DictChange::Kind::unset:
                out += "U" + what + "\n";
                break;
            case DictChange::Kind::add:
                out += "A" + what + "\t" + std::to_string(change.diff) + "\n";
                break;
        }
    }
    return out + "C" + number + "\n";
}

bool proxy_fits(std::string_view lines) {
    for (std::size_t end = 0; (end = lines.find('\n')) != std::string_view::npos; lines.remove_prefix(end + 1))
        if (end + 1 > kProxyLongestLine) return false;
    return true;
}

bool ProxyReader::feed(std::string_view bytes) {
    for (std::size_t end = 0; (end = bytes.find('\n')) != std::string_view::npos; bytes.remove_prefix(end + 1)) {
        buffer_ += bytes.substr(0, end);
        if (!line(buffer_)) return false;
        buffer_.clear();
    }
    buffer_ += bytes;
    return buffer_.size() <= kLongestReply;
}

std::vector<ProxyReply> ProxyReader::take() {
    std::vector<ProxyReply> replies;
    for (Waiting& command : waiting_) replies.push_back(std::move(command.reply).value());
    waiting_.clear();
    answered_ = 0;
    return replies;
}

bool ProxyReader::line(std::string_view text) {
    if (text.starts_with('*')) return number_next(number_of(text.substr(1)));
    const auto fields = fields_of(text);
    std::span<const std::string> reply = fields;
    unsigned number = 0;  // a server that does not number commands answers them in order
    if (reply.front().starts_with('+')) {
        number = number_of(std::string_view(reply.front()).substr(1));
        reply = reply.subspan(1);
        if (number == 0 || reply.empty()) return false;
    }
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Waiting& w) { return !w.reply && (number == 0 || w.number == number); });
    return found != waiting_.end() && answer(*found, reply);
}

bool ProxyReader::number_next(unsigned number) {
    if (number == 0) return false;
    const auto next =
        std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.number == 0 && !w.reply; });
    if (next == waiting_.end()) return false;
    next->number = number;
    return true;
}

// The first field is a letter and, of a lookup, what goes with it; of a commit, the transaction's id, behind which the
// reason stands. Times of the server follow, which say nothing to a client.
bool ProxyReader::answer(Waiting& command, std::span<const std::string> fields) {
    if (fields.front().empty()) return false;
    const char letter = fields.front().front();
    const bool commit = command.command == Command::commit;
    std::string text = commit ? std::string() : fields.front().substr(1);
    if (commit && (letter == 'F' || letter == 'W') && fields.size() > 1) text = fields[1];
    ProxyReply reply;
    if (letter == 'O') {
        reply.kind = ProxyReply::Kind::ok;
    } else if (letter == 'M' && !commit) {
        // Several values, escaped once more for being one field; the first is the one of a dict with one value a key.
        reply.kind = ProxyReply::Kind::ok;
        text = dict_unescaped(text.substr(0, text.find('\t')));
    } else if (letter == 'N') {
        reply.kind = ProxyReply::Kind::not_found;
    } else if (letter == 'F') {
        reply.kind = ProxyReply::Kind::failed;
    } else if (letter == 'W' && commit) {
        reply.kind = ProxyReply::Kind::uncertain;
    } else {
        return false;
    }
    reply.text = std::move(text);
    command.reply = std::move(reply);
    ++answered_;
    return true;
}

}  // namespace roost
