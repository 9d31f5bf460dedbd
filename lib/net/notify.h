// What the service manager is told, in sd_notify(3)'s protocol.
#pragma once

#include <string_view>

namespace roost::net {

// Sends `state`, lines of NAME=VALUE, to the socket that NOTIFY_SOCKET names; does nothing if there is none. A
// failure is not told: there is nobody to tell.
void notify_manager(std::string_view state);

// "RELOADING=1" with the time stamp that systemd wants beside it.
void notify_reloading();

}  // namespace roost::net
