// What all sessions of one roostd share.
#pragma once

#include "base/result.h"
#include "common/roostd_settings.h"
#include "lmtp/session.h"
#include "metrics.h"
#include "net/connection.h"
#include "policy/recipients.h"
#include "store/after_delivery.h"
#include "store/command.h"
#include "store/instance.h"
#include "store/redelivery.h"
#include "user_slots.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace roost {

// One reading of the configuration, with all that it sets up. Never changed.
struct Setup {
    std::shared_ptr<Instance> instance;
    LmtpSettings lmtp;
    PolicySettings policy;
    std::optional<Endpoint> metrics;  // where they are told
};

// Called when the modules are made, before any of the parts that start threads; an Error ends the loading. The setup
// has no instance yet.
using Ready = std::function<Result<void>(Instance&, const Setup&)>;

// `journaling`: whether this process may keep the journal. `former`: the setup that this one is to take the place of,
// or null.
Result<std::shared_ptr<const Setup>> load_setup(const std::string& config_path,
                                                const std::vector<std::string>& overrides,
                                                Instance::Journaling journaling, const Ready& ready,
                                                const Setup* former = nullptr);

// Any thread.
class Service {
public:
    explicit Service(std::shared_ptr<const Setup> setup);

    // The setup in force. A transaction keeps to the one that it began with.
    std::shared_ptr<const Setup> setup() const;
    void replace_setup(std::shared_ptr<const Setup> setup);

    // What holds by this setup for a session on this connection, its name excepted.
    lmtp::Terms terms(const net::Connection& connection, const Setup& setup) const;
    // For a new session; no two have had the same.
    std::string session_name();

    // What is remembered of lost verdicts outlives the process in a file of the state directory.
    void load_redelivery();
    void drop_redelivery_file();
    void save_redelivery();

    Redelivery& redelivery() { return redelivery_; }
    UserSlots& slots() { return slots_; }
    // Of the messages that the policy service is being asked about.
    policy::Recipients& recipients() { return recipients_; }
    AfterDelivery& after() { return after_; }
    Metrics& metrics() { return metrics_; }

    // No new transactions: sessions end as soon as they are idle.
    void stop() { stopping_ = true; }
    bool stopping() const { return stopping_; }

private:
    std::string redelivery_file() const;

    mutable std::mutex mutex_;
    std::shared_ptr<const Setup> setup_;
    std::string host_;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint32_t> sessions_ = 0;
    Redelivery redelivery_;
    UserSlots slots_;
    policy::Recipients recipients_;
    CommandQueue commands_;  // those of warnings
    AfterDelivery after_;
    Metrics metrics_;
};

}  // namespace roost
