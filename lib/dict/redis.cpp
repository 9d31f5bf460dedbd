#include "dict/redis.h"

#include <mutex>

#include "base/text.h"
#include "dict/redis_calls.h"
#include "dict/redis_keys.h"

namespace roost {
namespace {

// INCRBY of a key that is there, which then expires anew if ARGV[2] says when.
constexpr std::string_view kAdd =
    "if redis.call('EXISTS',KEYS[1])==0 then return 0 end "
    "redis.call('INCRBY',KEYS[1],ARGV[1]) "
    "if ARGV[2] then redis.call('EXPIRE',KEYS[1],ARGV[2]) end "
    "return 1";
constexpr std::string_view kScanned = "1000";  // keys that a server looks at in one go

class RedisDict : public Dict {
public:
    RedisDict(RedisSettings settings, const RedisLibraries& libraries)
        : settings_(std::move(settings)), libraries_(libraries) {}

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view key,
                      const std::function<bool(std::string_view user, std::string_view value)>& visit,
                      Deadline deadline) override;
    const std::string& name() const override { return settings_.name; }
    bool expires() const override { return !settings_.expire_secs.empty(); }

private:
    // Connections that one call has for itself: calls do not wait for each other.
    class Loan {
    public:
        explicit Loan(RedisDict& dict);
        ~Loan();
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;
        RedisNodes& operator*() { return *nodes_; }
        RedisNodes* operator->() { return nodes_.get(); }

    private:
        RedisDict& dict_;
        std::unique_ptr<RedisNodes> nodes_;
    };

    Error refused(const RedisReply& reply) const;
    RedisCall get_call(const std::string& name) const;
    Result<void> append_calls(std::vector<RedisCall>& calls, const DictTransaction& transaction) const;
    void append_change(RedisCall& call, const std::string& name, const DictChange& change) const;
    Result<bool> visit_names(RedisNodes& nodes, std::string_view key, const std::vector<RedisReply>& names,
                             const std::function<bool(std::string_view, std::string_view)>& visit, Deadline deadline);

    const RedisSettings settings_;
    const RedisLibraries& libraries_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<RedisNodes>> idle_;
};

RedisDict::Loan::Loan(RedisDict& dict) : dict_(dict) {
    const std::lock_guard lock(dict_.mutex_);
    if (dict_.idle_.empty()) {
        nodes_ = std::make_unique<RedisNodes>(dict_.settings_, dict_.libraries_);
    } else {
        nodes_ = std::move(dict_.idle_.back());
        dict_.idle_.pop_back();
    }
}

RedisDict::Loan::~Loan() {
    const std::lock_guard lock(dict_.mutex_);
    dict_.idle_.push_back(std::move(nodes_));
}

Error RedisDict::refused(const RedisReply& reply) const {
    Error out{Outcome::trouble, "cannot use the dict " + settings_.name, printable(reply.text), {}, 0};
    const std::string_view code = reply.error_code();
    if (code == "NOAUTH" || code == "NOPERM") {
        out.outcome = Outcome::misconfigured;
        out.hint = code == "NOAUTH" ? "add password=" : "let the user of the URI do that (see ACL in Redis' manual)";
    } else if (code == "MOVED" || code == "ASK" || code == "CROSSSLOT") {
        out.outcome = Outcome::misconfigured;
        out.hint = "this is a cluster: write cluster= in place of host= and port=";
    } else if (code == "READONLY") {
        out.hint = "this server is a replica: name the master";
    } else if (code == "OOM") {
        out.hint = "give Redis more memory";
    }
    return out;
}

RedisCall RedisDict::get_call(const std::string& name) const {
    RedisCall call;
    call.slot = redis_slot(name);
    append_redis_command(call.commands, {"GET", name});
    return call;
}

Result<std::vector<std::optional<std::string>>> RedisDict::get(std::string_view user, std::span<const std::string> keys,
                                                               Deadline deadline) {
    std::vector<RedisCall> calls;
    for (const std::string& key : keys) {
        auto name = redis_key(settings_.prefix, user, key);
        if (!name) return std::move(name).error();
        calls.push_back(get_call(*name));
    }
    Loan nodes(*this);
    if (auto done = run(*nodes, calls, deadline); !done) return std::move(done).error();
    std::vector<std::optional<std::string>> out;
    for (RedisCall& call : calls) {
        if (call.reply.is_error()) return refused(call.reply);
        if (call.reply.type == RedisReply::Type::nil)
            out.emplace_back();
        else
            out.emplace_back(std::move(call.reply.text));
    }
    return out;
}

void RedisDict::append_change(RedisCall& call, const std::string& name, const DictChange& change) const {
    const std::string& expire = settings_.expire_secs;
    std::string& out = call.commands;
    switch (change.kind) {
        case DictChange::Kind::set:
            append_redis_command(out, {"SET", name, change.value});
            if (!expire.empty()) {
                append_redis_command(out, {"EXPIRE", name, expire});
                ++call.replies;
            }
            break;
        case DictChange::Kind::unset:
            append_redis_command(out, {"DEL", name});
            break;
        case DictChange::Kind::add:
            if (expire.empty())
                append_redis_command(out, {"EVAL", kAdd, "1", name, std::to_string(change.diff)});
            else
                append_redis_command(out, {"EVAL", kAdd, "1", name, std::to_string(change.diff), expire});
            break;
    }
    ++call.replies;
}

// One call for the transaction; in a cluster one for each slot.
Result<void> RedisDict::append_calls(std::vector<RedisCall>& calls, const DictTransaction& transaction) const {
    const std::size_t first = calls.size();
    for (const DictChange& change : transaction.changes) {
        auto name = redis_key(settings_.prefix, transaction.user, change.key);
        if (!name) return std::move(name).error();
        const std::uint16_t slot = settings_.kind == RedisSettings::Kind::cluster ? redis_slot(*name) : 0;
        std::size_t at = first;
        while (at < calls.size() && calls[at].slot != slot) ++at;
        if (at == calls.size()) {
            calls.push_back({slot, {}, 1, {}, {}});
            append_redis_command(calls[at].commands, {"MULTI"});
        }
        append_change(calls[at], *name, change);
    }
    for (std::size_t at = first; at < calls.size(); ++at) {
        append_redis_command(calls[at].commands, {"EXEC"});
        ++calls[at].replies;
    }
    return {};
}

Result<void> RedisDict::commit(std::span<const DictTransaction> transactions, Deadline deadline) {
    std::vector<RedisCall> calls;
    for (const DictTransaction& transaction : transactions)
        if (auto appended = append_calls(calls, transaction); !appended) return appended;
    Loan nodes(*this);
    if (auto done = run(*nodes, calls, deadline); !done) return done;
    for (const RedisCall& call : calls) {
        if (call.reply.is_error()) {
            // A master that was demoted, or a node that is leaving its cluster, is not the one to go on with.
            nodes->forget();
            return refused(call.reply);
        }
        for (const RedisReply& reply : call.reply.elements)
            if (reply.is_error()) return refused(reply);
    }
    return {};
}

// False: `visit` wants no more.
Result<bool> RedisDict::visit_names(RedisNodes& nodes, std::string_view key, const std::vector<RedisReply>& names,
                                    const std::function<bool(std::string_view, std::string_view)>& visit,
                                    Deadline deadline) {
    std::vector<RedisCall> calls;
    std::vector<std::string> users;
    for (const RedisReply& name : names) {
        auto user = redis_user(settings_.prefix, key, name.text);
        if (!user) continue;
        calls.push_back(get_call(name.text));
        users.push_back(*std::move(user));
    }
    if (auto done = run(nodes, calls, deadline); !done) return std::move(done).error();
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const RedisReply& reply = calls[i].reply;
        // Another program's key may look like ours and be no string.
        if (reply.type == RedisReply::Type::nil || reply.error_code() == "WRONGTYPE") continue;
        if (reply.is_error()) return refused(reply);
        if (!visit(users[i], reply.text)) return false;
    }
    return true;
}

Result<void> RedisDict::each(std::string_view key,
                             const std::function<bool(std::string_view user, std::string_view value)>& visit,
                             Deadline deadline) {
    // Only users have keys of their own: "shared/..." is nobody's.
    if (auto checked = redis_key(settings_.prefix, "user", key); !checked) return std::move(checked).error();
    if (key.starts_with("shared/")) return {};
    const std::string pattern = redis_pattern(settings_.prefix, key);
    Loan scanned(*this);
    Loan asked(*this);
    if (auto begun = scanned->begin(deadline); !begun) return begun;
    auto links = scanned->all(deadline);
    if (!links) return std::move(links).error();
    for (RedisLink* const link : *links) {
        std::string cursor = "0";
        do {
            std::string command;
            append_redis_command(command, {"SCAN", cursor, "MATCH", pattern, "COUNT", kScanned});
            Result<void> sent = link->send(command);
            Result<RedisReply> batch = sent ? link->reply(deadline) : Result<RedisReply>(std::move(sent).error());
            if (!batch) {
                scanned->forget();
                return std::move(batch).error();
            }
            if (batch->is_error()) return refused(*batch);
            if (batch->elements.size() != 2) return link->trouble("its answer to SCAN cannot be understood");
            auto more = visit_names(*asked, key, batch->elements[1].elements, visit, deadline);
            if (!more) return std::move(more).error();
            if (!*more) return {};
            cursor = batch->elements[0].text;
        } while (cursor != "0");
    }
    return {};
}

bool is_name(const RedisAddress& address) { return address.path.empty() && !numeric_address(address.host, "1"); }

// Sentinels and clusters may answer with names of servers.
bool needs_names(const RedisSettings& settings) {
    return settings.kind != RedisSettings::Kind::server || is_name(settings.addresses.front());
}

}  // namespace

Result<std::unique_ptr<Dict>> make_redis_dict(std::string_view uri, const RedisLibraries& libraries) {
    auto settings = redis_settings(uri);
    if (!settings) return std::move(settings).error();
    if (libraries.resolve == nullptr && needs_names(*settings)) return std::unique_ptr<Dict>();
    if (settings->tls.on) {
        if (libraries.tls == nullptr) return std::unique_ptr<Dict>();
        // The files are read anew for each connection, so that renewed ones are used; what is wrong with them is said
        // now.
        auto tried = libraries.tls(settings->tls, settings->addresses.front().host);
        if (!tried) return std::move(tried).error();
    }
    return std::unique_ptr<Dict>(std::make_unique<RedisDict>(*std::move(settings), libraries));
}

}  // namespace roost
