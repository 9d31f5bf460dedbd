// Addresses and folder names, as they come from the network. Input: the text.
#include "mail/address.h"

#include "base/folder.h"
#include "base/text.h"
#include "check.h"

#include <algorithm>

using namespace roost;

namespace {

bool has_control(std::string_view text) { return std::any_of(text.begin(), text.end(), is_control); }

void try_address(std::string_view text) {
    const auto address = parse_address(text);
    if (!address) {
        check(address.error().outcome == Outcome::malformed, "a bad address is the client's fault");
        check(!has_control(address.error().text()) && is_utf8(address.error().text()), "an error's text is clean");
        return;
    }
    check(!address->local.empty(), "an address has a local part");
    check(!has_control(address->text()) && address->text().size() <= kMaxAddress, "an address is clean and short");
    check(lower(address->text()) == address->text(), "an address is in lower case");
    // Unless what was in quotes looks like quotes again.
    if (!address->domain.empty() && !address->local.starts_with('"') && !address->local.starts_with('<')) {
        const auto again = parse_address(address->text());
        check(again && again->domain == address->domain && again->local == address->local,
              "an address that is read again is the same");
    }
    for (const std::string_view separators : {"+", "+-", "", "@"}) {
        const Split split = split_detail(*address, separators);
        const std::string& base = split.base.local;
        check(!base.empty() && lower(split.base.written) == base, "a detail leaves a base");
        check(split.detail.empty() ? address->local.starts_with(base)
                                   : base.size() + 1 + split.detail.size() == address->local.size(),
              "base and detail make the local part");
    }
}

void try_sender(std::string_view text) {
    const auto sender = parse_sender(text);
    if (!sender) return;
    check(!has_control(*sender) && sender->size() <= kMaxAddress, "a sender is clean and short");
    check(sender->find('"') != std::string::npos || sender->find_first_of("<> ") == std::string::npos,
          "what is not quoted has no bracket and no blank");
}

void try_folder(std::string_view text) {
    const auto folder = parse_folder(text);
    if (!folder) return;
    for (const std::string& one : *folder) {
        check(!one.empty() && !has_control(one) && is_utf8(one), "a folder's name is clean");
        check(one.find('/') == std::string::npos && one != "." && one != "..", "a folder's name leads nowhere else");
    }
    const auto again = parse_folder(folder_name(*folder));
    check(again && *again == *folder, "a folder that is read again is the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = text_of(data, size);
    try_address(text);
    try_sender(text);
    try_folder(text);
    return 0;
}
