// "proxy:SOCKET:NAME": a dict that Dovecot's dict server holds.
#pragma once

#include "dict/dict.h"

namespace roost {

// The server's version is found out at the first connection, by what it does not close, or is given as "version=3".
// Each connection begins with a transaction without changes: it is good once that is answered, so that nothing is lost
// in one that the server closes for its version or for want of such a dict. As long as a connection is open it takes
// up one of the processes that Dovecot allows the service. An object has one at a time; with major 2 one a user.
//
// each() is an Error: the protocol asks for keys of one user.
Result<std::unique_ptr<Dict>> make_proxy_dict(std::string_view uri);

}  // namespace roost
