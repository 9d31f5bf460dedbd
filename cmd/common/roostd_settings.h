// The [lmtp], [policy] and [metrics] settings of roostd, read and checked: by itself, and by "roost config check".
#pragma once

#include "base/endpoint.h"
#include "base/peer.h"
#include "base/result.h"
#include "config/config.h"
#include "net/tls.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace roost {

struct LmtpSettings {
    std::vector<Endpoint> listen;
    mode_t socket_mode = 0;
    std::size_t max_connections = 0;
    std::size_t max_recipients = 0;
    std::size_t max_errors = 0;
    std::uint64_t max_message = 0;  // bytes; 0: no limit
    std::size_t user_concurrency = 0;
    std::chrono::milliseconds idle_timeout{0};
    std::chrono::milliseconds data_timeout{0};
    std::chrono::milliseconds shutdown_timeout{0};
    std::chrono::milliseconds redelivery_window{0};
    PeerSet trusted;
    bool offer_dsn = false;
    bool require_tls = false;              // of peers that are not local
    std::shared_ptr<net::TlsContext> tls;  // null: none is offered
};

struct PolicySettings {
    std::vector<Endpoint> listen;
    mode_t socket_mode = 0;
    bool from_clone = false;
    bool refuse_unknown = false;
    std::size_t max_connections = 0;
    std::chrono::milliseconds idle_timeout{0};
};

// Reads the certificate, too. Errors (misconfigured) name the setting and where it stands.
Result<LmtpSettings> read_lmtp_settings(const Config& config);
// Errors as there; two more are a socket that LMTP listens on already, and the clone for a source while it is off.
Result<PolicySettings> read_policy_settings(const Config& config);
// metrics.listen; nothing if it is empty. An Error if another service has it.
Result<std::optional<Endpoint>> read_metrics_endpoint(const Config& config);

// The endpoints that a setting names, each once.
std::vector<Endpoint> endpoints_of(const Config& config, std::string_view key);
// What is wrong if neither LMTP nor the policy service is to listen anywhere.
Error no_socket(const Config& config);

}  // namespace roost
