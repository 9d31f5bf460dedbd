#include "roostd_settings.h"

#include <algorithm>
#include <limits>
#include <string>

namespace roost {
namespace {

// The settings table has let through nothing that these readers refuse.
std::size_t count_of(const Config& config, std::string_view key) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::size_t>::max();
    return static_cast<std::size_t>((*parse_count(config.text(key))).value_or(kMost));
}

Error wrong(const Config& config, std::string_view key, std::string why, std::string hint) {
    return config_error(std::string(config.origin(key)) + ": " + std::string(key), std::move(why), std::move(hint));
}

// An Error if `other` names one of the sockets that `key` names.
Result<void> keep_apart(const Config& config, std::string_view key, std::string_view other) {
    const std::vector<Endpoint> taken = endpoints_of(config, other);
    for (const Endpoint& each : endpoints_of(config, key))
        if (std::find(taken.begin(), taken.end(), each) != taken.end())
            return wrong(config, key, each.text() + " is in " + std::string(other) + ", too",
                         "give each service its own socket");
    return {};
}

}  // namespace

std::vector<Endpoint> endpoints_of(const Config& config, std::string_view key) {
    std::vector<Endpoint> out;
    for (const std::string& word : parse_words(config.text(key))) {
        Endpoint endpoint = *parse_endpoint(word);
        if (std::find(out.begin(), out.end(), endpoint) == out.end()) out.push_back(std::move(endpoint));
    }
    return out;
}

Error no_socket(const Config& config) {
    return wrong(config, "lmtp.listen", "it names no socket", "name one, as unix:/run/roost/lmtp");
}

Result<LmtpSettings> read_lmtp_settings(const Config& config) {
    LmtpSettings out;
    out.listen = endpoints_of(config, "lmtp.listen");
    out.trusted = *PeerSet::parse(parse_words(config.text("lmtp.trusted")));
    out.socket_mode = *parse_mode(config.text("lmtp.socket-mode"));
    out.max_connections = count_of(config, "lmtp.max-connections");
    out.max_recipients = count_of(config, "lmtp.max-recipients");
    out.max_errors = count_of(config, "lmtp.max-errors");
    out.max_message = (*parse_size(config.text("lmtp.max-message"))).value_or(0);
    out.user_concurrency = count_of(config, "lmtp.user-concurrency");
    out.idle_timeout = config.duration("lmtp.idle-timeout");
    out.data_timeout = config.duration("lmtp.data-timeout");
    out.shutdown_timeout = config.duration("lmtp.shutdown-timeout");
    out.redelivery_window = config.duration("lmtp.redelivery-window");
    out.offer_dsn = config.flag("lmtp.dsn");

    const std::string_view tls = config.text("lmtp.tls");
    const std::string certificate(config.text("lmtp.tls-certificate"));
    out.require_tls = tls == "require";
    if (out.require_tls && certificate.empty())
        return wrong(config, "lmtp.tls", "there is no certificate", "set lmtp.tls-certificate");
    if (tls != "no" && !certificate.empty()) {
        auto context = net::TlsContext::load(certificate, std::string(config.text("lmtp.tls-key")));
        if (!context) {
            const Error error = std::move(context).error();
            return wrong(config, "lmtp.tls-certificate", error.what + ": " + error.why, error.hint);
        }
        out.tls = *std::move(context);
    }
    return out;
}

Result<PolicySettings> read_policy_settings(const Config& config) {
    PolicySettings out;
    out.listen = endpoints_of(config, "policy.listen");
    if (auto apart = keep_apart(config, "policy.listen", "lmtp.listen"); !apart) return std::move(apart).error();
    out.socket_mode = *parse_mode(config.text("policy.socket-mode"));
    out.from_clone = config.text("policy.source") == "clone";
    if (out.from_clone && config.text("quota-clone.dict").empty())
        return wrong(config, "policy.source", "there is no clone", "set quota-clone.dict");
    out.refuse_unknown = config.text("policy.unknown") == "reject";
    out.max_connections = count_of(config, "policy.max-connections");
    out.idle_timeout = config.duration("policy.idle-timeout");
    return out;
}

Result<std::optional<Endpoint>> read_metrics_endpoint(const Config& config) {
    for (const char* other : {"lmtp.listen", "policy.listen"})
        if (auto apart = keep_apart(config, "metrics.listen", other); !apart) return std::move(apart).error();
    std::vector<Endpoint> listen = endpoints_of(config, "metrics.listen");
    return listen.empty() ? std::nullopt : std::optional(std::move(listen.front()));
}

}  // namespace roost
