// Drives one dict from a test: roost-dict URI. Each line of standard input is a call as a JSON object, answered by a
// line with another, so that the dict outlives its server's troubles as it does in a daemon.
//
//   first line of all                                            {"name": NAME}
//   {"op": "get", "user": U, "keys": [K...]}                     {"values": [V or null...]}
//   {"op": "commit", "transactions": [{"user": U,
//       "changes": [["set", K, V], ["unset", K], ["add", K, N]...]}...]}   {}
//   {"op": "each", "key": K, "stop": N}                          {"found": [[U, V]...]}, N of them at most; 0: all
//
// "ms" sets the deadline of a call, 20000 without. A call, or making the dict, that fails is answered by
// {"error": TEXT, "outcome": NAME}. Strings are bytes: each character is one of U+0000 to U+00FF.
#include <nlohmann/json.hpp>

#include <iostream>

#include "dict/dict.h"

using namespace roost;
using Json = nlohmann::json;

namespace {

std::string bytes_of(const Json& json) {
    const auto text = json.get<std::string>();
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto lead = static_cast<unsigned char>(text[i]);
        if (lead < 0x80)
            out += text[i];
        else
            out += static_cast<char>((lead & 0x03U) << 6U | (static_cast<unsigned char>(text[++i]) & 0x3fU));
    }
    return out;
}

std::string text_of(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out += c;
        } else {
            out += static_cast<char>(0xc0U | byte >> 6U);
            out += static_cast<char>(0x80U | (byte & 0x3fU));
        }
    }
    return out;
}

Json failed(const Error& error) { return {{"error", text_of(error.text())}, {"outcome", row_of(error.outcome).name}}; }

Json get(Dict& dict, const Json& call, Deadline deadline) {
    std::vector<std::string> keys;
    for (const Json& key : call["keys"]) keys.push_back(bytes_of(key));
    auto got = dict.get(bytes_of(call["user"]), keys, deadline);
    if (!got) return failed(got.error());
    Json values = Json::array();
    for (const auto& value : *got) values.push_back(value ? Json(text_of(*value)) : Json());
    return {{"values", values}};
}

DictTransaction transaction_of(const Json& json) {
    DictTransaction out{bytes_of(json["user"]), {}};
    for (const Json& change : json["changes"]) {
        const auto kind = change[0].get<std::string>();
        const std::string key = bytes_of(change[1]);
        if (kind == "set")
            out.changes.push_back({DictChange::Kind::set, key, bytes_of(change[2]), 0});
        else if (kind == "unset")
            out.changes.push_back({DictChange::Kind::unset, key, {}, 0});
        else
            out.changes.push_back({DictChange::Kind::add, key, {}, change[2].get<std::int64_t>()});
    }
    return out;
}

Json commit(Dict& dict, const Json& call, Deadline deadline) {
    std::vector<DictTransaction> transactions;
    for (const Json& json : call["transactions"]) transactions.push_back(transaction_of(json));
    auto done = dict.commit(transactions, deadline);
    return done ? Json::object() : failed(done.error());
}

Json each(Dict& dict, const Json& call, Deadline deadline) {
    Json found = Json::array();
    const auto stop = call.value("stop", std::size_t(0));
    auto done = dict.each(
        bytes_of(call["key"]),
        [&](std::string_view user, std::string_view value) {
            found.push_back({text_of(user), text_of(value)});
            return found.size() != stop;
        },
        deadline);
    if (!done) return failed(done.error());
    return {{"found", found}};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: roost-dict URI\n";
        return 64;
    }
    auto dict = make_dict(argv[1]);
    if (!dict) {
        std::cout << failed(dict.error()).dump() << std::endl;
        return 0;
    }
    std::cout << Json{{"name", text_of((*dict)->name())}}.dump() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        const Json call = Json::parse(line);
        const auto deadline = Deadline::in(std::chrono::milliseconds(call.value("ms", 20000)));
        const auto op = call["op"].get<std::string>();
        Json answer;
        if (op == "get")
            answer = get(**dict, call, deadline);
        else if (op == "commit")
            answer = commit(**dict, call, deadline);
        else
            answer = each(**dict, call, deadline);
        std::cout << answer.dump() << std::endl;
    }
}
