// The table that an SQL dict lies in: one row a user, his bytes and messages in two columns.
#pragma once

#include "base/result.h"
#include "dict/dict.h"
#include "dict/uri.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace roost {

// The parameters of a URI that name table and columns, for DictUri::Form. The defaults are PostfixAdmin's quota2.
inline constexpr std::array<std::string_view, 4> kSqlTableKeys{"table", "username_field", "bytes_field",
                                                               "messages_field"};

// Names as SQL text, quoted: they may be reserved words.
struct SqlTable {
    std::string table, user;
    std::array<std::string, 2> fields;  // of storage and messages

    // An Error (misconfigured) for a name that is none: letters, digits, "_", "$", "-" and what is not ASCII; a table
    // may be SCHEMA.TABLE. `quote`: the character that the server has for names.
    static Result<SqlTable> of(const DictUri& uri, char quote);

    // The statement that makes it.
    std::string create() const;
};

// Which of SqlTable::fields a key is.
Result<std::size_t> sql_field(std::string_view key, const std::string& dict);

// What a transaction does to its user's row.
struct SqlChange {
    struct Field {
        enum class Kind { keep, set, clear, add } kind = Kind::keep;
        std::int64_t number = 0;  // for set, or for add
    };
    std::string_view user;
    std::array<Field, 2> fields;

    // As long as the transaction lives. Errors: a key that is neither storage nor messages (misconfigured), or a value
    // that is not a whole number of 64 bits (malformed).
    static Result<SqlChange> of(const DictTransaction& transaction, const std::string& dict);

    bool sets_all() const { return all(Field::Kind::set); }
    // The row goes where both keys do. Where one does its column becomes 0: the other key lies in the same row.
    bool removes() const { return all(Field::Kind::clear); }

private:
    bool all(Field::Kind kind) const { return fields[0].kind == kind && fields[1].kind == kind; }
};

}  // namespace roost
