#include "lmtp/session.h"

#include "lmtp/machine.h"
#include "lmtp/reply.h"

#include <utility>

namespace roost::lmtp {

Session::Session(Terms terms, Host& host) : machine_(std::make_unique<Machine>(std::move(terms), host)) {}
Session::~Session() = default;

std::string Session::greeting() { return render_greeting(machine_->terms().host); }

std::string Session::busy_greeting(std::string_view text) { return render({421, "4.3.2", std::string(text)}); }

std::size_t Session::feed(std::string_view in, std::string& out) { return machine_->feed(in, out); }

Session::State Session::state() const { return machine_->state(); }

void Session::secured() { machine_->secured(); }

std::string Session::timeout_reply() const {
    if (state() != State::open) return {};
    return render({421, "4.4.2", machine_->terms().host + " waited too long"});
}

std::string Session::shutdown_reply() const {
    if (state() != State::open) return {};
    return render({421, "4.3.2", machine_->terms().host + " is shutting down"});
}

bool Session::idle() const { return machine_->idle(); }

bool Session::receiving() const { return machine_->receiving(); }

bool Session::verdicts_confirmed() const { return machine_->confirmed(); }

const Envelope* Session::envelope() const { return machine_->envelope(); }

const Origin& Session::origin() const { return machine_->origin(); }

std::string_view Session::peer_name() const { return machine_->peer_name(); }

}  // namespace roost::lmtp
