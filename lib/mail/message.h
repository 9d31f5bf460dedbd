// A message: bytes that are taken in once and stored as often as there are recipients.
#pragma once

#include "base/deadline.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace roost {

// What the message's first lines tell about earlier handling.
struct TraceInfo {
    bool return_path = false;   // the MTA wrote Return-Path already
    bool delivered_to = false;  // the MTA wrote Delivered-To already
    std::string message_id;     // the Message-ID field's text, at most 250 octets, printable; empty if absent
};

// Holds the bytes in memory up to a limit and beyond it in an unlinked spool file (or in the regular file it was read
// from), so that memory stays constant whatever comes in. Bytes are never changed: NUL, 8-bit, bare CR and a missing
// final newline stay. Immutable once made; any thread may read it.
class Message {
public:
    // Up to this many bytes are kept in memory.
    static constexpr std::size_t kMemory = 512UL * 1024;

    // Reads `fd` to its end. What exceeds kMemory goes to an unlinked file in `spool_dir` (made if missing). A leading
    // mbox "From " line is not part of the message: its sender is remembered. Errors: read errors, a full spool, the
    // deadline.
    static Result<Message> read(Files& files, int fd, const std::string& spool_dir, Deadline deadline);
    static Message from_text(std::string bytes);

    std::uint64_t size() const { return size_; }
    // How many LF are not preceded by CR: what the size grows by when every line ends in CRLF.
    std::uint64_t bare_newlines() const { return bare_newlines_; }
    // The sender of a leading "From " line, if there was one with a sender ("" for the null sender).
    const std::optional<std::string>& from_line_sender() const { return from_line_sender_; }
    const TraceInfo& trace() const { return trace_; }

    // Writes all bytes to a descriptor, in constant memory. `path` is for messages.
    Result<void> write_to(Files& files, int fd, std::string_view path) const;
    // Calls `chunk` with the bytes in order, in pieces of at most kMemory.
    Result<void> each(const std::function<Result<void>(std::string_view)>& chunk) const;

private:
    friend class MessageBuilder;
    std::string memory_;  // all bytes, if spool_ is none
    Fd spool_;
    std::uint64_t offset_ = 0;  // where the message begins in memory_ or spool_
    std::uint64_t size_ = 0;
    std::uint64_t bare_newlines_ = 0;
    std::optional<std::string> from_line_sender_;
    TraceInfo trace_;
};

// Takes a message's bytes in the order in which they come, and becomes the Message. One thread at a time.
class MessageBuilder {
public:
    // Whether a leading "From " line is an mbox separator and no part of the message; LMTP knows none.
    enum class FromLine { drop, keep };

    // `spool_dir` as for Message::read.
    MessageBuilder(Files& files, std::string spool_dir, FromLine from_line)
        : files_(files), spool_dir_(std::move(spool_dir)), from_line_(from_line) {}

    // An Error (a full spool) leaves the builder of no further use.
    Result<void> append(std::string_view bytes);
    // How many bytes came so far.
    std::uint64_t size() const { return total_; }
    Message finish() &&;

private:
    void look_at_head(std::string_view head);
    Result<void> write(std::string_view bytes);

    Files& files_;
    std::string spool_dir_;
    FromLine from_line_;
    Message message_;
    std::uint64_t total_ = 0;
    std::size_t skip_ = 0;  // what is left of the "From " line, which is spooled but not counted
    char last_ = '\0';
};

}  // namespace roost
