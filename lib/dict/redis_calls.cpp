#include "dict/redis_calls.h"

#include <charconv>

#include "base/text.h"

namespace roost {
namespace {

constexpr int kMostRedirections = 8;

struct Redirection {
    bool moved = false;  // for good; else this once
    std::uint16_t slot = 0;
    RedisAddress to;
};

// "MOVED SLOT HOST:PORT" or "ASK SLOT HOST:PORT": https://redis.io/docs/reference/cluster-spec
std::optional<Redirection> redirection(const RedisReply& reply, const RedisAddress& from) {
    const std::string_view code = reply.error_code();
    if (code != "MOVED" && code != "ASK") return std::nullopt;
    const std::string_view rest = std::string_view(reply.text).substr(code.size());
    const std::size_t second = rest.find(' ', 1);
    const std::size_t colon = rest.rfind(':');
    Redirection out{code == "MOVED", 0, {}};
    if (second == std::string_view::npos || colon == std::string_view::npos || colon < second) return std::nullopt;
    std::from_chars(rest.data() + 1, rest.data() + second, out.slot);
    out.slot %= 16384;
    out.to.host = rest.substr(second + 1, colon - second - 1);
    if (out.to.host.empty()) out.to.host = from.host;
    out.to.port = rest.substr(colon + 1);
    return out;
}

// Gives `call` to the connection for it, which is remembered in `link`.
Result<void> send(RedisNodes& nodes, const RedisCall& call, RedisLink*& link, Deadline deadline) {
    auto found = call.asked ? nodes.at(*call.asked, deadline) : nodes.for_slot(call.slot, deadline);
    if (!found) return std::move(found).error();
    link = *found;
    std::string asking;
    if (call.asked) append_redis_command(asking, {"ASKING"});
    return link->send(asking + call.commands);
}

Result<void> receive(RedisCall& call, RedisLink& link, Deadline deadline) {
    if (call.asked) {
        auto asking = link.reply(deadline);
        if (!asking) return std::move(asking).error();
    }
    bool failed = false;
    for (std::size_t i = 0; i < call.replies; ++i) {
        auto reply = link.reply(deadline);
        if (!reply) return std::move(reply).error();
        if (failed) continue;
        failed = reply->is_error();
        call.reply = *std::move(reply);
    }
    return {};
}

Result<void> run_round(RedisNodes& nodes, std::span<RedisCall*> calls, std::vector<RedisCall*>& redirected,
                       Deadline deadline) {
    std::vector<RedisLink*> links(calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i)
        if (auto sent = send(nodes, *calls[i], links[i], deadline); !sent) return sent;
    for (RedisLink* const link : links)
        if (auto flushed = link->flush(); !flushed) return flushed;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        RedisCall& call = *calls[i];
        if (auto received = receive(call, *links[i], deadline); !received) return received;
        call.asked.reset();
        const auto redirect = redirection(call.reply, links[i]->address());
        if (!redirect) continue;
        redirected.push_back(&call);
        if (redirect->moved)
            nodes.moved(redirect->slot, redirect->to);
        else
            call.asked = redirect->to;
    }
    return {};
}

}  // namespace

Result<void> run(RedisNodes& nodes, std::span<RedisCall> calls, Deadline deadline) {
    Result<void> done = nodes.begin(deadline);
    std::vector<RedisCall*> open;
    for (RedisCall& call : calls) open.push_back(&call);
    for (int round = 0; done && !open.empty() && round <= kMostRedirections; ++round) {
        std::vector<RedisCall*> redirected;
        done = run_round(nodes, open, redirected, deadline);
        open = std::move(redirected);
    }
    if (!done) nodes.forget();
    return done;
}

}  // namespace roost
