// The surroundings of one LMTP session: its transactions, one after the other, on their way into the mail store.
#pragma once

#include "digest.h"
#include "lmtp/session.h"
#include "mail/message.h"
#include "net/connection.h"
#include "service.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace roost {

// One thread at a time; holds nothing of a message between transactions.
class Transaction : public lmtp::Host {
public:
    // References must outlive the object.
    Transaction(Service& service, const net::Connection& connection);
    ~Transaction() override;
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    // Names the session that this is the host of; before anything else.
    void serve(const lmtp::Session& session) { session_ = &session; }

    lmtp::Answer recipient(const Recipient& recipient, std::uint64_t size) override;
    Result<void> data(std::string_view bytes) override;
    std::vector<lmtp::Answer> deliver(const Envelope& envelope) override;
    void failed(const Envelope& envelope, const lmtp::Answer& answer) override;
    std::size_t waiting() const override { return connection_.waiting(); }
    void reset() override;
    std::optional<lmtp::Terms> new_terms() override;

    // By the setup that the session's terms are from.
    net::TlsContext& tls() const { return *tls_; }  // if STARTTLS is offered
    std::chrono::milliseconds idle_timeout() const { return idle_timeout_; }
    std::chrono::milliseconds data_timeout() const { return data_timeout_; }

    // The peer has read all verdicts given so far.
    void confirmed();
    // Closes the mailboxes that are open for recipients whose message has not come yet.
    void rest();

private:
    // Tells the redelivery memory whether the peer is still there.
    class Source : public Redelivery::Source {
    public:
        explicit Source(const net::Connection& connection) : connection_(connection) {}
        bool gone() const override { return connection_.gone(); }

    private:
        const net::Connection& connection_;
    };
    struct Incoming {
        MessageBuilder builder;
        Digest digest;
    };
    struct Copy;
    class Settling;

    // Whether a message of the transaction's sender to the recipient was delivered and its verdict got lost.
    bool may_come_again(const Recipient& recipient) const;
    void claim(std::vector<Copy>& copies, Deadline deadline);
    void report(const Envelope& envelope, const Recipient& recipient, const Message* message,
                const Verdict& verdict) const;

    Service& service_;
    const net::Connection& connection_;
    Source source_;
    const lmtp::Session* session_ = nullptr;

    std::weak_ptr<const Setup> told_;  // that the session's terms are from; an idle session keeps none alive
    std::shared_ptr<net::TlsContext> tls_;
    std::chrono::milliseconds idle_timeout_{0};
    std::chrono::milliseconds data_timeout_{0};

    std::shared_ptr<const Setup> setup_;  // from a transaction's first recipient to its end
    std::vector<Routing> routings_;       // of the accepted recipients, in order
    std::vector<UserSlots::Slot> slots_;
    std::optional<Incoming> incoming_;
    std::vector<Redelivery::Key> unconfirmed_;
};

}  // namespace roost
