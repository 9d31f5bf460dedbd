#include "mail/message.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <vector>

#include "base/text.h"
#include "mail/address.h"

namespace roost {
namespace {

constexpr std::size_t kMaxMessageId = 250;

// The line of `text` that begins at `at`, with its line end.
std::string_view line_at(std::string_view text, std::size_t at) {
    return text.substr(at, std::min(text.find('\n', at), text.size() - 1) - at + 1);
}

bool has_name(std::string_view line, std::string_view name) {
    return line.size() > name.size() && line[name.size()] == ':' && lower(line.substr(0, name.size())) == name;
}

// Looks at the header, as much of it as `head` has. What the delivering MTA wrote stands above all other fields: only
// there do Return-Path and Delivered-To count as its own; further down they came with the message.
TraceInfo read_trace(std::string_view head) {
    constexpr std::array<std::string_view, 5> kMtaFields{"return-path", "delivered-to", "x-original-to", "envelope-to",
                                                         "delivery-date"};
    TraceInfo trace;
    bool at_top = true;
    for (std::size_t at = 0; at < head.size();) {
        std::string_view line = line_at(head, at);
        at += line.size();
        if (line == "\n" || line == "\r\n") break;
        if (line.starts_with(' ') || line.starts_with('\t')) continue;  // continues the field before
        at_top = at_top && std::any_of(kMtaFields.begin(), kMtaFields.end(),
                                       [&](std::string_view name) { return has_name(line, name); });
        trace.return_path |= at_top && has_name(line, "return-path");
        trace.delivered_to |= at_top && has_name(line, "delivered-to");
        if (trace.message_id.empty() && has_name(line, "message-id")) {
            while (at < head.size() && (head[at] == ' ' || head[at] == '\t')) at += line_at(head, at).size();
            std::string value;  // unfolded, RFC 5322 section 2.2.3
            for (const char c : std::string_view(line.data(), static_cast<std::size_t>(head.data() + at - line.data()))
                                    .substr(sizeof "message-id"))
                if (c != '\r' && c != '\n') value += c;
            trace.message_id = printable(trim(value).substr(0, kMaxMessageId)).substr(0, kMaxMessageId);
        }
    }
    return trace;
}

// The sender in an mbox "From sender date" line; nothing if what stands there is none. A quoted blank does not end it.
std::optional<std::string> from_line_sender(std::string_view line) {
    line.remove_prefix(std::string_view("From ").size());
    line = trim(line);
    bool quoted = false;
    std::size_t end = 0;
    while (end < line.size() && (quoted || (line[end] != ' ' && line[end] != '\t'))) {
        if (line[end] == '"') quoted = !quoted;
        end += quoted && line[end] == '\\' ? 2 : 1;
    }
    const std::string_view word = line.substr(0, end);
    auto sender = parse_sender(word);
    if (!sender || word.empty()) return std::nullopt;
    // MAILER-DAEMON stands for the null sender in mbox files and in Postfix's pipe(8).
    return *sender == "MAILER-DAEMON" ? "" : *std::move(sender);
}

std::uint64_t count_bare_newlines(std::string_view bytes, char& last) {
    std::uint64_t bare = 0;
    for (std::size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1))
        if ((at == 0 ? last : bytes[at - 1]) != '\r') ++bare;
    if (!bytes.empty()) last = bytes.back();
    return bare;
}

Result<std::size_t> read_some(int fd, std::span<char> buffer, Deadline deadline) {
    while (true) {
        pollfd wait{fd, POLLIN, 0};
        const auto left = std::min<std::int64_t>(deadline.remaining().count(), 60'000);
        const int ready = ::poll(&wait, 1, static_cast<int>(left));
        if (ready < 0 && errno != EINTR) return system_error(errno, "cannot wait for the message");
        if (ready <= 0) {
            if (!deadline.expired()) continue;
            return Error{Outcome::trouble, "cannot read the message", "its end did not come before the deadline",
                         "see delivery.deadline", 0};
        }
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR && errno != EAGAIN) return system_error(errno, "cannot read the message");
    }
}

Result<Fd> open_spool(Files& files, const std::string& dir) {
    auto made = files.make_path(dir, 0700);
    if (!made) return std::move(made).error();
    auto fd = files.open({made->get(), dir}, ".", O_TMPFILE | O_RDWR, 0600);
    if (fd || (fd.error().sys != EOPNOTSUPP && fd.error().sys != EISDIR)) return fd;
    // A file system without O_TMPFILE.
    const std::string name = "spool." + std::to_string(::getpid()) + "." + std::to_string(made->get());
    fd = files.open({made->get(), dir}, name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (!fd) return fd;
    auto removed = files.unlink({made->get(), dir}, name);
    if (!removed) return std::move(removed).error();
    return fd;
}

}  // namespace

Result<void> MessageBuilder::append(std::string_view bytes) {
    total_ += bytes.size();
    if (!message_.spool_ && message_.memory_.size() + bytes.size() <= Message::kMemory) {
        message_.memory_ += bytes;
        return {};
    }
    if (!message_.spool_) {
        auto spool = open_spool(files_, spool_dir_);
        if (!spool) return std::move(spool).error();
        message_.spool_ = *std::move(spool);
        look_at_head(message_.memory_);
        auto written = write(message_.memory_);
        if (!written) return written;
        message_.memory_ = {};
    }
    return write(bytes);
}

Message MessageBuilder::finish() && {
    if (!message_.spool_) {
        look_at_head(message_.memory_);
        char last = '\0';
        message_.bare_newlines_ =
            count_bare_newlines(std::string_view(message_.memory_).substr(message_.offset_), last);
    }
    message_.size_ = total_ - message_.offset_;
    return std::move(message_);
}

void MessageBuilder::look_at_head(std::string_view head) {
    constexpr std::size_t kLongestFromLine = 1024;  // a longer one is no mbox separator: keep every byte
    const bool candidate = from_line_ == FromLine::drop && head.starts_with("From ");
    const std::string_view line = candidate ? line_at(head, 0) : std::string_view();
    if (!line.empty() && line.size() <= kLongestFromLine) {
        message_.from_line_sender_ = from_line_sender(line);
        message_.offset_ = line.size();
        skip_ = line.size();
    }
    message_.trace_ = read_trace(head.substr(message_.offset_));
}

Result<void> MessageBuilder::write(std::string_view bytes) {
    const std::string_view counted = bytes.substr(std::min(skip_, bytes.size()));
    skip_ -= bytes.size() - counted.size();
    message_.bare_newlines_ += count_bare_newlines(counted, last_);
    return files_.write(message_.spool_.get(), bytes, "the spool file in " + spool_dir_);
}

Result<Message> Message::read(Files& files, int fd, const std::string& spool_dir, Deadline deadline) {
    constexpr std::size_t kChunk = 64UL * 1024;
    // Not zeroed first: a small message touches but a few of its pages.
    const auto chunk = std::make_unique_for_overwrite<char[]>(kChunk);
    const std::span<char> buffer(chunk.get(), kChunk);
    MessageBuilder builder(files, spool_dir, MessageBuilder::FromLine::drop);
    while (true) {
        auto got = read_some(fd, buffer, deadline);
        if (!got) return std::move(got).error();
        if (*got == 0) return std::move(builder).finish();
        auto taken = builder.append({buffer.data(), *got});
        if (!taken) return std::move(taken).error();
    }
}

Message Message::from_text(std::string bytes) {
    Message message;
    char last = '\0';
    message.memory_ = std::move(bytes);
    message.size_ = message.memory_.size();
    message.bare_newlines_ = count_bare_newlines(message.memory_, last);
    message.trace_ = read_trace(message.memory_);
    return message;
}

Result<void> Message::write_to(Files& files, int fd, std::string_view path) const {
    if (spool_) return files.copy(spool_.get(), offset_, size_, fd, path);
    return files.write(fd, std::string_view(memory_).substr(offset_), path);
}

Result<void> Message::each(const std::function<Result<void>(std::string_view)>& chunk) const {
    if (!spool_) return chunk(std::string_view(memory_).substr(offset_));
    std::vector<char> buffer(kMemory / 2);
    for (std::uint64_t done = 0; done < size_;) {
        const std::size_t want = std::min<std::uint64_t>(buffer.size(), size_ - done);
        const ssize_t got = ::pread(spool_.get(), buffer.data(), want, static_cast<off_t>(offset_ + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return system_error(got < 0 ? errno : EIO, "cannot read the spooled message");
        auto given = chunk({buffer.data(), static_cast<std::size_t>(got)});
        if (!given) return given;
        done += static_cast<std::uint64_t>(got);
    }
    return {};
}

}  // namespace roost
