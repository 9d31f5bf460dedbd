// The Redis protocol, RESP 2: commands as bytes, bytes as replies (https://redis.io/docs/reference/protocol-spec). The
// parser is hiredis'.
#pragma once

#include "base/result.h"

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace roost {

struct RedisReply {
    enum class Type { text, array, integer, nil, error };
    Type type = Type::nil;
    std::string text;  // of text, statuses and errors; bytes
    std::int64_t integer = 0;
    std::vector<RedisReply> elements;

    bool is_error() const { return type == Type::error; }
    // An error's first word, as "MOVED"; empty: no error.
    std::string_view error_code() const;
};

// Appends a command of binary-safe words to `out`.
void append_redis_command(std::string& out, std::initializer_list<std::string_view> words);

// Finds replies in a stream of bytes. One thread at a time.
class RedisReader {
public:
    RedisReader();

    void feed(std::string_view bytes);
    // The next whole reply; nullopt: more bytes are needed. After an Error (what came is no RESP) nothing works.
    Result<std::optional<RedisReply>> next();

private:
    struct Free {
        void operator()(redisReader* reader) const;
    };
    std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace roost
