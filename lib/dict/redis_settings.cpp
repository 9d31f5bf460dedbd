#include "dict/redis_settings.h"

#include <sys/un.h>

#include <array>
#include <charconv>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::array<std::string_view, 18> kRedisKeys{
    "host",    "port",   "path",     "sentinel", "master",   "sentinel_user", "sentinel_password",
    "cluster", "prefix", "db",       "user",     "password", "expire_secs",   "timeout_msecs",
    "tls",     "tls_ca", "tls_cert", "tls_key"};
constexpr std::uint64_t kDefaultTimeout = 30'000;  // Dovecot's
constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;

bool is_port(std::string_view text) {
    unsigned port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

std::string without_brackets(std::string_view host) {
    return std::string(host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host);
}

// "host,port;host,port".
Result<std::vector<RedisAddress>> addresses(const DictUri& uri, std::string_view key, std::string_view default_port) {
    std::vector<RedisAddress> out;
    const std::string list = uri.get(key, "");
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(';', at), list.size());
        const std::string_view item = std::string_view(list).substr(at, end - at);
        const std::size_t comma = item.find(',');
        const std::string_view port = comma == std::string_view::npos ? default_port : item.substr(comma + 1);
        const std::string host = without_brackets(item.substr(0, comma));
        if (host.empty() || !is_port(port))
            return uri.wrong("'" + printable(item) + "' in " + std::string(key) + "= is no server",
                             "write " + std::string(key) + "=HOST,PORT;HOST,PORT");
        out.push_back({{}, host, std::string(port)});
        at = end + 1;
    }
    return out;
}

Result<void> read_place(const DictUri& uri, RedisSettings& out) {
    const int places = int(uri.get("sentinel").has_value()) + int(uri.get("cluster").has_value()) +
                       int(uri.get("path").has_value()) + int(uri.get("host") || uri.get("port"));
    if (places > 1)
        return uri.wrong("it names more than one place", "write one of host= with port=, path=, sentinel=, cluster=");
    for (const std::string_view key : {"master", "sentinel_user", "sentinel_password"})
        if (uri.get(key) && !uri.get("sentinel"))
            return uri.wrong(std::string(key) + "= is for sentinel= alone", "remove it");
    if (uri.get("sentinel") || uri.get("cluster")) {
        const bool sentinel = uri.get("sentinel").has_value();
        out.kind = sentinel ? RedisSettings::Kind::sentinel : RedisSettings::Kind::cluster;
        auto list = addresses(uri, sentinel ? "sentinel" : "cluster", sentinel ? "26379" : "6379");
        if (!list) return std::move(list).error();
        out.addresses = *std::move(list);
    } else if (const auto path = uri.get("path")) {
        if (!path->starts_with('/') || path->size() > kLongestPath)
            return uri.wrong("path=" + printable(*path) + " is no absolute path of at most " +
                             std::to_string(kLongestPath) + " bytes");
        out.addresses.push_back({*path, {}, {}});
    } else {
        auto port = uri.number("port", 6379, 1, 65535);
        if (!port) return std::move(port).error();
        const std::string host = without_brackets(uri.get("host", "127.0.0.1"));
        if (host.empty()) return uri.wrong("host= is empty", "name the server");
        out.addresses.push_back({{}, host, std::to_string(*port)});
    }
    out.master = uri.get("master", "");
    if (out.kind == RedisSettings::Kind::sentinel && out.master.empty())
        return uri.wrong("master= is missing", "write the name under which the sentinels watch the server");
    return {};
}

Result<void> read_tls(const DictUri& uri, RedisSettings& out) {
    auto on = uri.yes("tls", false);
    if (!on) return std::move(on).error();
    out.tls = {*on, uri.get("tls_ca", ""), uri.get("tls_cert", ""), uri.get("tls_key", "")};
    if (*on && uri.get("path")) return uri.wrong("there is no TLS on a Unix socket", "remove tls= or path=");
    for (const std::string_view key : {"tls_ca", "tls_cert", "tls_key"}) {
        const auto path = uri.get(key);
        if (!path) continue;
        if (!*on) return uri.wrong(std::string(key) + "= without tls=yes", "add tls=yes");
        if (!path->starts_with('/'))
            return uri.wrong(std::string(key) + "=" + printable(*path) + " is no absolute path");
    }
    if (!out.tls.key.empty() && out.tls.certificate.empty())
        return uri.wrong("tls_key= without tls_cert=", "add tls_cert=");
    return {};
}

}  // namespace

std::string RedisAddress::text() const {
    if (!path.empty()) return path;
    return host.find(':') == std::string::npos ? host + ":" + port : "[" + host + "]:" + port;
}

Result<RedisSettings> redis_settings(std::string_view text) {
    auto uri = DictUri::parse(text, {{}, kRedisKeys});
    if (!uri) return std::move(uri).error();
    RedisSettings out;
    out.name = uri->name();
    if (auto place = read_place(*uri, out); !place) return std::move(place).error();
    if (auto tls = read_tls(*uri, out); !tls) return std::move(tls).error();

    out.prefix = uri->get("prefix", "");
    out.user = uri->get("user", "");
    out.password = uri->get("password", "");
    if (!out.user.empty() && out.password.empty()) return uri->wrong("user= without password=", "add password=");
    out.sentinel_user = uri->get("sentinel_user", "");
    out.sentinel_password = uri->get("sentinel_password", "");
    if (!out.sentinel_user.empty() && out.sentinel_password.empty())
        return uri->wrong("sentinel_user= without sentinel_password=", "add sentinel_password=");

    auto db = uri->number("db", 0, 0, 1'000'000);
    if (!db) return std::move(db).error();
    out.db = *db;
    if (out.db != 0 && out.kind == RedisSettings::Kind::cluster)
        return uri->wrong("a cluster has no databases", "remove db=");
    auto expire = uri->number("expire_secs", 0, 1, 4'294'967'295);
    if (!expire) return std::move(expire).error();
    if (*expire != 0) out.expire_secs = std::to_string(*expire);
    auto timeout = uri->number("timeout_msecs", kDefaultTimeout, 1, 86'400'000);
    if (!timeout) return std::move(timeout).error();
    out.timeout = std::chrono::milliseconds(*timeout);
    return out;
}

}  // namespace roost
