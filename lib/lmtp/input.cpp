// The bytes of a session: command lines, data and chunks, and the verdicts at their end.
#include "lmtp/machine.h"

#include <algorithm>
#include <array>
#include <utility>

namespace roost::lmtp {
namespace {

// Of a command line, its end included. RFC 5321 section 4.5.3.1.4 asks for 512; the extensions add less than 2000.
constexpr std::size_t kMaxLine = 4096;
// As many octets of one overlong line count as one refused command, so that a flood without line ends has an end too.
constexpr std::uint64_t kOctetsOfAnError = 16UL * 1024;
// With as much to say, feed() returns for it to be sent.
constexpr std::size_t kMuchOutput = 4096;
// Message bytes are decoded in pieces of this size, on the stack: an idle session holds no buffer.
constexpr std::size_t kPiece = 32UL * 1024;

constexpr std::string_view kSaved = "Saved";

Answer answer_of(const Error& error) { return {error.outcome, error.text(), 0, {}}; }

}  // namespace

std::size_t Session::Machine::feed(std::string_view in, std::string& out) {
    out_ = &out;
    pause_ = false;
    const std::size_t said = out.size();
    std::size_t taken = 0;
    while (state_ == State::open && taken < in.size() && !pause_ && out.size() - said < kMuchOutput) {
        const std::string_view rest = in.substr(taken);
        std::size_t count = 0;
        switch (mode_) {
            case Mode::command:
                count = take_line(rest);
                break;
            case Mode::data:
                count = take_data(rest);
                break;
            case Mode::chunk:
                count = take_chunk(rest);
                break;
        }
        taken += count;
        // A verdict was given: the rest was sent by a client that cannot have read it.
        unanswered_ = pause_ ? in.size() - taken + host_.waiting() : unanswered_ - std::min(unanswered_, count);
    }
    // Encrypted bytes were counted with what encryption adds to them.
    if (unanswered_ != 0 && taken == in.size() && host_.waiting() == 0) unanswered_ = 0;
    out_ = nullptr;
    return taken;
}

// A bare LF ends a command, too: people and scripts send it, and here it can do no harm. What an attacker can smuggle
// commands in is data, and that ends with CRLF.CRLF alone.
std::size_t Session::Machine::take_line(std::string_view in) {
    if (overlong_ != 0) return take_overlong(in);
    if (line_.empty()) line_is_fresh_ = unanswered_ == 0;
    const std::size_t end = in.substr(0, kMaxLine - line_.size()).find('\n');
    if (end == std::string_view::npos) {
        if (line_.size() + in.size() >= kMaxLine) return take_overlong(in);
        line_ += in;
        return in.size();
    }
    if (line_.empty()) {
        run(in.substr(0, end));
        return end + 1;
    }
    line_ += in.substr(0, end);
    const std::string line = std::exchange(line_, {});
    run(line);
    return end + 1;
}

std::size_t Session::Machine::take_overlong(std::string_view in) {
    const std::uint64_t before = std::exchange(overlong_, overlong_ + std::exchange(line_, {}).size());
    const std::size_t end = in.find('\n');
    const std::size_t count = end == std::string_view::npos ? in.size() : end + 1;
    overlong_ += count;
    for (std::uint64_t step = before / kOctetsOfAnError; step < overlong_ / kOctetsOfAnError; ++step) ++errors_;
    if (errors_ >= terms_.max_errors || end != std::string_view::npos) {
        overlong_ = 0;
        refuse({500, "5.5.2", "The line is longer than " + std::to_string(kMaxLine) + " octets"});
    }
    return count;
}

std::size_t Session::Machine::take_data(std::string_view in) {
    std::array<char, kPiece> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
    const DataDecoder::Step step = transaction_->decoder->decode(in, piece);
    keep({piece.data(), step.made});
    if (step.ended) {
        mode_ = Mode::command;
        deliver();
    }
    return step.taken;
}

std::size_t Session::Machine::take_chunk(std::string_view in) {
    in = in.substr(0, chunk_left_);
    std::size_t taken = in.size();
    // Refused, its octets are swallowed all the same (RFC 3030 section 2).
    if (transaction_ && transaction_->decoder) {
        std::array<char, kPiece> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init): as above
        const DataDecoder::Step step = transaction_->decoder->decode(in, piece);
        keep({piece.data(), step.made});
        taken = step.taken;
    }
    chunk_left_ -= taken;
    if (chunk_left_ == 0) end_chunk();
    return taken;
}

// Hands message bytes on, unless the message has failed already. That it is too large is said before any trouble of
// ours: it would be so at the next attempt.
void Session::Machine::keep(std::string_view bytes) {
    Transaction& now = *transaction_;
    if (bytes.empty() || now.too_large) return;
    now.too_large = terms_.max_message != 0 && now.decoder->octets() > terms_.max_message;
    if (now.too_large) {
        std::string text = "The message is larger than " + std::to_string(terms_.max_message) + " octets";
        now.failure = Answer{Outcome::message_too_large, std::move(text), 0, {}};
    } else if (!now.failure) {
        if (auto kept = host_.data(bytes); !kept) now.failure = answer_of(kept.error());
    }
}

void Session::Machine::end_chunk() {
    mode_ = Mode::command;
    if (lacks_tls()) return refuse(kNoTls);
    if (!transaction_) return refuse_without_mail();
    if (transaction_->envelope.recipients.empty()) return say(kNoRecipients);
    if (chunk_last_) {
        keep(transaction_->decoder->finish());
        return deliver();
    }
    Transaction& now = *transaction_;
    if (!now.failure) return say(kDone);
    if (now.told) return say({503, "5.5.1", "The message has failed already"});
    tell_failure();
    say(reply_of(*now.failure, "", now.failure->text));
}

void Session::Machine::tell_failure() {
    Transaction& now = *transaction_;
    if (!std::exchange(now.told, true)) host_.failed(now.envelope, *now.failure);
}

// The message has come whole: one reply for each recipient, in order (RFC 2033 section 4.2).
void Session::Machine::deliver() {
    Transaction& now = *transaction_;
    std::vector<Answer> answers;
    if (now.failure)
        tell_failure();
    else
        answers = host_.deliver(now.envelope);
    answers.resize(now.envelope.recipients.size(), now.failure.value_or(Answer{}));
    for (const Answer& answer : answers) {
        std::string text = answer.text;
        if (answer.outcome == Outcome::delivered) {
            errors_ = 0;
            text = "<" + now.envelope.session + "> " + (text.empty() ? std::string(kSaved) : text);
        }
        say(reply_of(answer, "2.0.0", std::move(text)));
    }
    end_transaction();
    confirmed_ = false;
    pause_ = true;
}

}  // namespace roost::lmtp
