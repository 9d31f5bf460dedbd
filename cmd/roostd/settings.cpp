#include "settings.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>

namespace roost {
namespace {

// What is wrong with the value of `key`, and where it stands.
Error wrong(const Config& config, std::string_view key, const Error& error) {
    return config_error(std::string(config.origin(key)) + ": " + std::string(key), error.text());
}

// The settings table has let through nothing that these readers refuse.
std::size_t count_of(const Config& config, std::string_view key) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::size_t>::max();
    return static_cast<std::size_t>((*parse_count(config.text(key))).value_or(kMost));
}

// With none of these there would be a daemon that takes no mail.
Result<void> check_not_zero(const Config& config, std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys)
        if (count_of(config, key) == 0)
            return wrong(config, key, config_error("'0'", "it must be 1 at least", "write a number, or unlimited"));
    return {};
}

// The endpoints that `key` names, each once.
Result<std::vector<net::Endpoint>> endpoints_of(const Config& config, std::string_view key) {
    std::vector<net::Endpoint> out;
    for (const std::string& word : parse_words(config.text(key))) {
        auto endpoint = net::parse_endpoint(word);
        if (!endpoint) return wrong(config, key, endpoint.error());
        if (std::find(out.begin(), out.end(), *endpoint) == out.end()) out.push_back(*std::move(endpoint));
    }
    return out;
}

}  // namespace

Result<LmtpSettings> read_lmtp_settings(const Config& config) {
    LmtpSettings out;
    auto listen = endpoints_of(config, "lmtp.listen");
    if (!listen) return std::move(listen).error();
    out.listen = *std::move(listen);
    auto trusted = net::PeerSet::parse(parse_words(config.text("lmtp.trusted")));
    if (!trusted) return wrong(config, "lmtp.trusted", trusted.error());
    out.trusted = *std::move(trusted);

    out.socket_mode = *parse_mode(config.text("lmtp.socket-mode"));
    if (auto checked = check_not_zero(
            config, {"lmtp.max-connections", "lmtp.max-recipients", "lmtp.max-errors", "lmtp.user-concurrency"});
        !checked)
        return std::move(checked).error();
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
    auto listen = endpoints_of(config, "policy.listen");
    if (!listen) return std::move(listen).error();
    out.listen = *std::move(listen);
    for (const net::Endpoint& each : out.listen)
        if (std::find(lmtp.listen.begin(), lmtp.listen.end(), each) != lmtp.listen.end())
            return wrong(config, "policy.listen",
                         config_error(each.text(), "it is in lmtp.listen, too", "give each service its own socket"));
    out.socket_mode = *parse_mode(config.text("policy.socket-mode"));
    out.from_clone = config.text("policy.source") == "clone";
    if (out.from_clone && config.text("quota-clone.dict").empty())
        return config_error(std::string(config.origin("policy.source")) + ": policy.source", "there is no clone",
                            "set quota-clone.dict");
    if (auto checked = check_not_zero(config, {"policy.max-connections"}); !checked) return std::move(checked).error();
    out.refuse_unknown = config.text("policy.unknown") == "reject";
    out.max_connections = count_of(config, "policy.max-connections");
    out.idle_timeout = config.duration("policy.idle-timeout");
    return out;
}

Result<std::optional<net::Endpoint>> read_metrics_endpoint(const Config& config) {
    constexpr std::string_view kKey = "metrics.listen";
    const std::string_view text = config.text(kKey);
    if (text.empty()) return std::optional<net::Endpoint>();
    auto endpoint = net::parse_endpoint(text);
    if (!endpoint) return wrong(config, kKey, endpoint.error());
    if (endpoint->local())
        return config_error(std::string(config.origin(kKey)) + ": metrics.listen", "a Unix socket cannot be scraped",
                            "write tcp:HOST:PORT");
    return std::optional(*std::move(endpoint));
}

}  // namespace roost
