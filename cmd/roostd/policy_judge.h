// What recipients say to a message, for the policy service.
#pragma once

#include "base/peer.h"
#include "policy/session.h"
#include "service.h"

#include <string>
#include <string_view>

namespace roost {

// Asks the mail store or, with policy.source = clone, the dict, by the setup that is in force at each request. One
// thread at a time.
class PolicyJudge final : public policy::Host {
public:
    // `service` must outlive the object.
    PolicyJudge(Service& service, const Peer& peer) : service_(service), peer_(peer.text) {}

    policy::Answer judge(std::string_view recipient, std::uint64_t size) override;
    // Logs it.
    void refused(const policy::Request& request, const policy::Answer& answer) override;

private:
    Service& service_;
    const std::string peer_;
};

}  // namespace roost
