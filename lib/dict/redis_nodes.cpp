#include "dict/redis_nodes.h"

#include <algorithm>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kSlots = 16384;
constexpr std::uint16_t kNobody = UINT16_MAX;

// One of `count` that are tried in turn, and something after them: none takes all the time.
Deadline share(Deadline deadline, std::size_t count) { return deadline.at_most(deadline.remaining() / (count + 1)); }

// One command and its reply; an error reply is an Error.
Result<RedisReply> ask(RedisLink& link, std::initializer_list<std::string_view> words, Deadline deadline) {
    std::string command;
    append_redis_command(command, words);
    if (auto sent = link.send(command); !sent) return std::move(sent).error();
    auto reply = link.reply(deadline);
    if (reply && reply->is_error()) return link.trouble(printable(reply->text));
    return reply;
}

}  // namespace

Result<void> RedisNodes::begin(Deadline deadline) {
    for (auto& node : nodes_)
        if (node->link && !node->link->alive()) node->link.reset();
    switch (settings_.kind) {
        case RedisSettings::Kind::server:
            index(settings_.addresses.front());
            return {};
        case RedisSettings::Kind::sentinel:
            return !nodes_.empty() && nodes_.front()->link ? Result<void>() : ask_sentinels(deadline);
        case RedisSettings::Kind::cluster:
            return stale_ ? learn_slots(deadline) : Result<void>();
    }
    return {};
}

Result<RedisLink*> RedisNodes::for_slot(std::uint16_t slot, Deadline deadline) {
    if (settings_.kind != RedisSettings::Kind::cluster) return link(*nodes_.front(), deadline);
    if (slots_[slot] == kNobody) {
        stale_ = true;
        return Error{Outcome::trouble, "cannot use the dict " + settings_.name,
                     "no node of the cluster serves slot " + std::to_string(slot),
                     "see what redis-cli --cluster check says", 0};
    }
    return link(*nodes_[slots_[slot]], deadline);
}

Result<RedisLink*> RedisNodes::at(const RedisAddress& address, Deadline deadline) {
    return link(*nodes_[index(address)], deadline);
}

Result<std::vector<RedisLink*>> RedisNodes::all(Deadline deadline) {
    std::vector<RedisLink*> out;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (!slots_.empty() && std::find(slots_.begin(), slots_.end(), i) == slots_.end()) continue;
        auto found = link(*nodes_[i], deadline);
        if (!found) return std::move(found).error();
        out.push_back(*found);
    }
    return out;
}

void RedisNodes::moved(std::uint16_t slot, const RedisAddress& to) {
    stale_ = true;  // more than this one may have moved
    if (!slots_.empty()) slots_[slot] = static_cast<std::uint16_t>(index(to));
}

void RedisNodes::forget() {
    for (auto& node : nodes_) node->link.reset();
    stale_ = true;
}

std::size_t RedisNodes::index(const RedisAddress& address) {
    for (std::size_t i = 0; i < nodes_.size(); ++i)
        if (nodes_[i]->address == address) return i;
    nodes_.push_back(std::make_unique<Node>(Node{address, nullptr}));
    return nodes_.size() - 1;
}

Result<RedisLink*> RedisNodes::link(Node& node, Deadline deadline) {
    if (!node.link) {
        auto made = RedisLink::connect(settings_, libraries_, node.address,
                                       {settings_.user, settings_.password, settings_.db}, deadline);
        if (!made) {
            stale_ = true;
            return std::move(made).error();
        }
        node.link = *std::move(made);
    }
    return node.link.get();
}

// Sentinel clients: https://redis.io/docs/reference/sentinel-clients
Result<void> RedisNodes::ask_sentinels(Deadline deadline) {
    nodes_.clear();
    Result<void> failure;
    std::size_t left = settings_.addresses.size();
    for (const RedisAddress& sentinel : settings_.addresses) {
        auto master = ask_sentinel(sentinel, share(deadline, left--));
        if (!master) {
            failure = std::move(master).error();
            continue;
        }
        auto found = at(*master, share(deadline, left));
        if (found) {
            auto checked = check_master(**found, deadline);
            if (checked) return {};
            failure = std::move(checked);
        } else {
            failure = std::move(found).error();
        }
        nodes_.clear();
    }
    return failure;
}

Result<RedisAddress> RedisNodes::ask_sentinel(const RedisAddress& sentinel, Deadline deadline) {
    auto link = RedisLink::connect(settings_, libraries_, sentinel,
                                   {settings_.sentinel_user, settings_.sentinel_password, 0}, deadline);
    if (!link) return std::move(link).error();
    auto reply = ask(**link, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings_.master}, deadline);
    if (!reply) return std::move(reply).error();
    if (reply->elements.size() != 2)
        return (*link)->trouble("this sentinel knows no master '" + printable(settings_.master) + "'", "check master=");
    return RedisAddress{{}, reply->elements[0].text, reply->elements[1].text};
}

Result<void> RedisNodes::check_master(RedisLink& link, Deadline deadline) {
    auto role = ask(link, {"ROLE"}, deadline);
    if (!role) return std::move(role).error();
    if (role->elements.empty() || role->elements[0].text != "master")
        return link.trouble("a sentinel calls it the master, but it is not (yet)", "wait for the failover to end");
    return {};
}

Result<void> RedisNodes::learn_slots(Deadline deadline) {
    std::vector<RedisAddress> known;
    for (const auto& node : nodes_) known.push_back(node->address);
    for (const RedisAddress& address : settings_.addresses)
        if (std::find(known.begin(), known.end(), address) == known.end()) known.push_back(address);
    Result<void> failure;
    std::size_t left = known.size();
    for (const RedisAddress& address : known) {
        const Deadline soon = share(deadline, left--);
        auto link = at(address, soon);
        if (!link) {
            failure = std::move(link).error();
            continue;
        }
        auto reply = ask(**link, {"CLUSTER", "SLOTS"}, soon);
        failure = reply ? read_slots(*reply, **link) : Result<void>(std::move(reply).error());
        if (failure) return {};
        nodes_[index(address)]->link.reset();
    }
    return failure;
}

// CLUSTER SLOTS: of each range its first and last slot, then its master as address, port and more, then its replicas.
Result<void> RedisNodes::read_slots(const RedisReply& reply, const RedisLink& from) {
    std::vector<std::uint16_t> slots(kSlots, kNobody);
    for (const RedisReply& range : reply.elements) {
        if (range.elements.size() < 3 || range.elements[2].elements.size() < 2)
            return from.trouble("its CLUSTER SLOTS cannot be understood");
        const auto& master = range.elements[2].elements;
        // An address that the node does not know is the one that it was asked at.
        const std::string host = master[0].text.empty() ? from.address().host : master[0].text;
        const std::size_t node = index({{}, host, std::to_string(master[1].integer)});
        const auto first = std::max<std::int64_t>(range.elements[0].integer, 0);
        const auto last = std::min<std::int64_t>(range.elements[1].integer, kSlots - 1);
        for (auto slot = first; slot <= last; ++slot)
            slots[static_cast<std::size_t>(slot)] = static_cast<std::uint16_t>(node);
    }
    slots_ = std::move(slots);
    stale_ = false;
    return {};
}

}  // namespace roost
