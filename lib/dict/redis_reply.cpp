#include "dict/redis_reply.h"

#include <hiredis/read.h>

#include "base/text.h"

namespace roost {
namespace {

// The object of the reply that `task` is about: an element of its parent, or a new one that the reader owns for now.
RedisReply* object_of(const redisReadTask* task, RedisReply::Type type) {
    RedisReply* reply = nullptr;
    if (task->parent == nullptr)
        reply = new RedisReply;  // NOLINT(cppcoreguidelines-owning-memory): freed by `free_object` or taken by next()
    else
        reply = &static_cast<RedisReply*>(task->parent->obj)->elements[static_cast<std::size_t>(task->idx)];
    reply->type = type;
    return reply;
}

void free_object(void* object) {
    delete static_cast<RedisReply*>(object);  // NOLINT(cppcoreguidelines-owning-memory)
}

redisReplyObjectFunctions make_functions() {
    redisReplyObjectFunctions out{};
    out.createString = [](const redisReadTask* task, char* text, std::size_t size) -> void* {
        RedisReply* reply =
            object_of(task, task->type == REDIS_REPLY_ERROR ? RedisReply::Type::error : RedisReply::Type::text);
        reply->text.assign(text, size);
        return reply;
    };
    // The type of the count differs between versions of hiredis.
    out.createArray = [](const redisReadTask* task, auto count) -> void* {
        RedisReply* reply = object_of(task, RedisReply::Type::array);
        reply->elements.resize(static_cast<std::size_t>(count));
        return reply;
    };
    out.createInteger = [](const redisReadTask* task, long long number) -> void* {
        RedisReply* reply = object_of(task, RedisReply::Type::integer);
        reply->integer = number;
        return reply;
    };
    out.createNil = [](const redisReadTask* task) -> void* { return object_of(task, RedisReply::Type::nil); };
    out.freeObject = free_object;
    return out;
}

redisReplyObjectFunctions functions = make_functions();  // hiredis wants it changeable, and changes nothing

}  // namespace

std::string_view RedisReply::error_code() const {
    return is_error() ? std::string_view(text).substr(0, text.find(' ')) : std::string_view();
}

void append_redis_command(std::string& out, std::initializer_list<std::string_view> words) {
    out += '*' + std::to_string(words.size()) + "\r\n";
    for (const std::string_view word : words) {
        out += '$' + std::to_string(word.size()) + "\r\n";
        out += word;
        out += "\r\n";
    }
}

void RedisReader::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

RedisReader::RedisReader() : reader_(redisReaderCreateWithFunctions(&functions)) {}

void RedisReader::feed(std::string_view bytes) { redisReaderFeed(reader_.get(), bytes.data(), bytes.size()); }

Result<std::optional<RedisReply>> RedisReader::next() {
    void* found = nullptr;
    if (redisReaderGetReply(reader_.get(), &found) != 0)
        return Error{Outcome::trouble,
                     {},
                     "what came is not the Redis protocol: " + printable(reader_->errstr),
                     "check host= and port=, and tls= if the server wants TLS",
                     0};
    if (found == nullptr) return std::optional<RedisReply>();
    const std::unique_ptr<RedisReply> reply(static_cast<RedisReply*>(found));
    return std::optional<RedisReply>(std::move(*reply));
}

}  // namespace roost
