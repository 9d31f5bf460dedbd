// What becomes of an append that was never settled.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "journal.h"

#include <cstdint>
#include <string>

namespace roost::mbox {

// Takes back what `intent` has left in the file `fd`, durably. Its message was never acknowledged, so that the MTA
// delivers it again. The caller holds all locks.
//
// Only bytes that are surely of the intent's text are touched. Bytes of it at the end of the file are cut off. If
// another program has appended a message behind them, they become empty lines, and the other message stays where it
// is. If another program has rewritten the file since, nothing is done: what it kept is its own.
Result<void> take_back(Files& files, int fd, const std::string& path, const Intent& intent);

// Takes back an append that failed in this process: the file ends where it ended before. Durable.
Result<void> cut_off(Files& files, int fd, const std::string& path, std::uint64_t size);

}  // namespace roost::mbox
