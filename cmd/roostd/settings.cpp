#include "settings.h"

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

// The endpoints that `key` names, each once.
std::vector<Endpoint> endpoints_of(const Config& config, std::string_view key) {
    std::vector<Endpoint> out;
    for (const std::string& word : parse_words(config.text(key))) {
        Endpoint endpoint = *parse_endpoint(word);
        if (std::find(out.begin(), out.end(), endpoint) == out.end()) out.push_back(std::move(endpoint));
    }
    return out;
}

}  // namespace

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
        return config_error(std::string(config.origin("lmtp.tls")) + ": lmtp.tls", "there is no certificate",
                            "set lmtp.tls-certificate");
    if (tls != "no" && !certificate.empty()) {
        auto context = net::TlsContext::load(certificate, std::string(config.text("lmtp.tls-key")));
        if (!context) return std::move(context).error();
        out.tls = *std::move(context);
    }
    return out;
}

Result<PolicySettings> read_policy_settings(const Config& config, const LmtpSettings& lmtp) {
    PolicySettings out;
    out.listen = endpoints_of(config, "policy.listen");
    for (const Endpoint& each : out.listen)
        if (std::find(lmtp.listen.begin(), lmtp.listen.end(), each) != lmtp.listen.end())
            return config_error(std::string(config.origin("policy.listen")) + ": policy.listen: " + each.text(),
                                "it is in lmtp.listen, too", "give each service its own socket");
    out.socket_mode = *parse_mode(config.text("policy.socket-mode"));
    out.from_clone = config.text("policy.source") == "clone";
    if (out.from_clone && config.text("quota-clone.dict").empty())
        return config_error(std::string(config.origin("policy.source")) + ": policy.source", "there is no clone",
                            "set quota-clone.dict");
    out.refuse_unknown = config.text("policy.unknown") == "reject";
    out.max_connections = count_of(config, "policy.max-connections");
    out.idle_timeout = config.duration("policy.idle-timeout");
    return out;
}

std::optional<Endpoint> metrics_endpoint(const Config& config) {
    const std::string_view text = config.text("metrics.listen");
    if (text.empty()) return std::nullopt;
    return *parse_endpoint(text);
}

}  // namespace roost
