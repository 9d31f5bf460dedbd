// The text that a delivery appends, ready before the mailbox is locked.
#pragma once

#include "base/fd.h"
#include "base/files.h"
#include "base/result.h"
#include "mail/message.h"
#include "module/mda.h"

#include <cstdint>
#include <string>

namespace roost::mbox {

// Its first bytes in memory, the rest in an unlinked file beside the mailbox: memory stays constant, and a program that
// dies leaves nothing behind.
class StagedText {
public:
    // Quotes the trace header and the message. `dir` must stay open until this returns.
    static Result<StagedText> make(Files& files, DirRef dir, const Delivery& delivery, const Message& message);

    const std::string& head() const { return head_; }
    std::uint64_t size() const { return head_.size() + rest_size_; }
    // Appends what follows the head to what was written to `fd`. `path` is for messages.
    Result<void> write_rest(Files& files, int fd, const std::string& path) const;

private:
    Result<void> take(Files& files, DirRef dir, std::string_view bytes);

    std::string head_;
    Fd rest_;
    std::uint64_t rest_size_ = 0;
};

}  // namespace roost::mbox
