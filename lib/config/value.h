// The kinds of value that a setting can have, and how their text is read. One grammar for roost.conf, the command line
// and the user database.
#pragma once

#include "base/result.h"

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace roost {

enum class Kind {
    text,        // any text without control characters; may be empty
    boolean,     // yes or no
    choice,      // one of the words that the setting lists
    size,        // bytes: 512K 10M 1G 2T (powers of 1024), or unlimited
    count,       // a whole number, or unlimited
    positive,    // the same, 1 at least
    duration,    // 500ms 30s 5m 36h 7d
    patience,    // the same, longer than 0
    mode,        // permission bits in octal: 0700
    words,       // words separated by blanks
    command,     // an absolute path and arguments, with %% and those variables that the setting lists; empty for none
    path,        // an absolute path, or empty where that is the default
    paths,       // absolute paths separated by blanks
    pattern,     // a path with %{user} %{local} %{domain} %{hash} %%; absolute where nothing else comes before it; with
                 // one of the first two unless it is a user's own
    allowance,   // a share of the limit (10%) or a size (10M); 0 for none
    id,          // the number of a user or group; empty for none
    id_range,    // FROM-TO, two numbers of user or group ids; empty for none
    thresholds,  // storage>80% messages>90% storage<80%; may be empty
    room,        // a size or a count, or unlimited; with "+" before it: more than others have
    sockets,     // Endpoints separated by blanks
    tcp_socket,  // one Endpoint by TCP; empty for none
    peers,       // what PeerSet::parse reads, separated by blanks
};

// Each reader takes the whole text; the Error's `why` says what was wrong and its `hint` what would be right.
Result<bool> parse_boolean(std::string_view text);
Result<std::optional<std::uint64_t>> parse_size(std::string_view text);   // nullopt: unlimited
Result<std::optional<std::uint64_t>> parse_count(std::string_view text);  // nullopt: unlimited
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
Result<mode_t> parse_mode(std::string_view text);
std::vector<std::string> parse_words(std::string_view text);

struct Allowance {
    bool is_share = false;
    std::uint64_t amount = 0;  // per cent if is_share, else bytes

    // What it comes to for a limit of `limit` bytes.
    std::uint64_t of(std::uint64_t limit) const;
};
Result<Allowance> parse_allowance(std::string_view text);

Result<std::optional<std::uint32_t>> parse_id(std::string_view text);  // nullopt: none given

struct IdRange {
    std::uint32_t from = 0;
    std::uint32_t to = 0;  // inclusive
};
Result<std::optional<IdRange>> parse_id_range(std::string_view text);  // nullopt: none given

struct Room {
    bool extra = false;                   // "+" stands before it
    std::optional<std::uint64_t> amount;  // bytes or a number; absent: unlimited
};
Result<Room> parse_room(std::string_view text);

// One threshold of usage. Reached from below it fires if it is `rising`, else when usage falls below it again.
struct Threshold {
    bool of_messages = false;  // else of storage
    bool rising = true;
    unsigned percent = 0;  // of the limit

    // As it is written: "storage>80%".
    std::string text() const;
    auto operator<=>(const Threshold&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm
};
Result<std::vector<Threshold>> parse_thresholds(std::string_view text);

// Checks `text` against a kind; `choices` (separated by blanks) matters for Kind::choice, whose words they are, and for
// Kind::command, whose variables they are.
Result<void> check_value(Kind kind, std::string_view choices, std::string_view text);

// Whether a template, well formed, has a variable of which there is another value for each user, at least within a
// domain: %{user} or %{local}.
bool tells_users_apart(std::string_view pattern);

// The name of a kind, for manuals: "size", "yes|no", the choices joined by "|".
std::string kind_name(Kind kind, std::string_view choices);

// Bytes for people: "1.0G", "512K", "17B".
std::string format_size(std::uint64_t bytes);

}  // namespace roost
