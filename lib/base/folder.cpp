#include "base/folder.h"

#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kMaxFolder = 200;
constexpr std::size_t kMaxDepth = 10;
constexpr std::string_view kSeparators = "./";

Error malformed(std::string_view text, std::string_view why) {
    return {Outcome::malformed, "folder name '" + printable(text.substr(0, kMaxFolder)) + "'", std::string(why),
            "write components separated by / or .", 0};
}

}  // namespace

Result<Folder> parse_folder(std::string_view text) {
    if (text.size() > kMaxFolder) return malformed(text, "it is longer than 200 octets");
    if (!is_utf8(text)) return malformed(text, "it is not UTF-8");
    for (const char c : text)
        if (is_control(c)) return malformed(text, "it has a control character");

    Folder folder;
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::size_t end = rest.find_first_of(kSeparators);
        const std::string_view component = rest.substr(0, end);
        if (component.empty() || end + 1 == rest.size()) return malformed(text, "it has an empty component");
        if (component.starts_with('~')) return malformed(text, "a component begins with ~");
        folder.emplace_back(component);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    if (folder.size() > kMaxDepth) return malformed(text, "it has more than 10 components");
    // INBOX is case-insensitive (RFC 3501 section 5.1) and the top of the Maildir++ tree. There is no INBOX in it: IMAP
    // servers do not show a folder of that name.
    while (!folder.empty() && lower(folder.front()) == "inbox") folder.erase(folder.begin());
    return folder;
}

std::string folder_name(const Folder& folder) {
    if (folder.empty()) return "INBOX";
    std::string out;
    for (const std::string& component : folder) out += (out.empty() ? "" : "/") + component;
    return out;
}

}  // namespace roost
