// Reads what XCLIENT and XFORWARD tell of the original client, as Postfix documents them in XCLIENT_README and
// XFORWARD_README.
#pragma once

#include "lmtp/command.h"
#include "lmtp/session.h"

#include <optional>
#include <string_view>

namespace roost::lmtp {

// Sets in `origin` what the "NAME=value ..." of `arguments` tell: a value that is [UNAVAILABLE] or [TEMPUNAVAIL] is
// emptied. Attributes without use here are checked and dropped. A refusal leaves `origin` as it was.
std::optional<Reply> take_xclient(std::string_view arguments, Origin& origin);
std::optional<Reply> take_xforward(std::string_view arguments, Origin& origin);

}  // namespace roost::lmtp
