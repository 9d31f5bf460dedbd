// One connection to an SQL database, with failures as values.
#pragma once

#include "base/result.h"
#include "db/log_note.h"

#include <soci/soci.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace roost {

// An open SQLite database behind SOCI. One thread at a time. What SOCI throws becomes an Error here and nowhere else:
// its `what` names the task and the database's path, its hint what to do.
//
// A connection that only reads does no work at its end: the write-ahead log stays for the next one. One that wrote
// folds the log back into the database when it has grown, so that the next opening need not read it; a `command` always
// does, so that the file is whole where somebody copies or replaces it.
class Database {
public:
    enum class Missing { fail, create };
    // `once`: for a process that reads a row or two and ends. It spares setting up the memory that connections share
    // where nobody else is connected, in exchange for reading the write-ahead log at each query; at the first writing,
    // or where that way is closed, the connection turns into a `lasting` one. `command`: for what a person starts.
    enum class Use { lasting, once, command };

    // `url`: "sqlite:PATH", PATH absolute. Waits for other writers up to `busy_time` in each call. A file that is not
    // there is an Error (misconfigured), or is made with mode 0640 in a directory that must exist.
    static Result<std::unique_ptr<Database>> open(const std::string& url, Missing missing,
                                                  std::chrono::milliseconds busy_time, Use use = Use::lasting);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    // Another connection to the same database, lasting or a command's.
    Result<std::unique_ptr<Database>> another() const;

    const std::string& path() const { return path_; }
    Use use() const { return use_; }
    // Stands for what is committed: it is another one after every commit, whichever program's, before that program
    // hears of it. Nothing where there is no such thing, without a write-ahead log and with Use::once. No system call.
    using State = std::array<std::uint32_t, 12>;
    std::optional<State> state();
    // An Error (trouble) if the file at path() is not the one that was opened, or not what it was: it was replaced,
    // overwritten or removed meanwhile, and what this connection reads and writes is nobody else's any more. Or if the
    // write-ahead log beside it belongs to another file, see log_note.h; what is read is then neither's. Some
    // microseconds. It sees the log once something was read.
    Result<void> check_place();
    // Brings into the database's file what the write-ahead log holds, and empties that, unless others are at work on
    // them now or the files do not belong together.
    void fold_log() noexcept;
    // Whoever keeps statements gives a function that lets go of them, for when the connection is opened anew.
    void on_reopen(std::function<void()> forget) { forget_statements_ = std::move(forget); }

    // Returns work(session), a Result. `task` completes "cannot ...", naming its object.
    template <class Work>
    std::invoke_result_t<Work&, soci::session&> read(std::string_view task, Work&& work) {
        try {
            if (use_ == Use::once) try {
                    return work(session_);
                } catch (const soci::soci_error&) {
                    make_lasting();
                }
            return work(session_);
        } catch (...) {
            return current_error(task);
        }
    }

    // The same inside a transaction that keeps other writers out from its beginning. It is committed, durably, if
    // `work` succeeds, and else rolled back.
    template <class Work>
    std::invoke_result_t<Work&, soci::session&> write(std::string_view task, Work&& work) {
        try {
            if (auto in_place = check_place(); !in_place) return std::move(in_place).error();
            Transaction transaction(*this);
            auto result = work(session_);
            if (result) transaction.commit();
            return result;
        } catch (...) {
            return current_error(task);
        }
    }

    // Runs SQL text of several statements. Throws like SOCI: for use inside `write`.
    void run(const std::string& sql);
    // Switches the database file to write-ahead logging, for good.
    Result<void> use_write_ahead_log();

private:
    // Rolls back unless committed.
    class Transaction {
    public:
        explicit Transaction(Database& db);
        ~Transaction();
        Transaction(const Transaction&) = delete;
        Transaction& operator=(const Transaction&) = delete;
        void commit();

    private:
        Database& db_;
        bool open_ = true;
    };

    Database(std::string path, Use use, std::chrono::milliseconds busy_time);
    void connect(const std::string& name);
    void make_lasting();
    int busy_timeout() const;
    std::string log_path();
    Result<void> check_log();
    const std::uint32_t* find_log_index();
    // What the exception that is being handled means.
    Error current_error(std::string_view task) const;
    Error sqlite_error(std::string_view task, int code, std::string why) const;
    void prepare_writing();
    void shorten_log() noexcept;

    std::string path_;
    Use use_;
    std::chrono::milliseconds busy_time_;
    std::function<void()> forget_statements_ = [] {};
    soci::session session_;
    bool wrote_ = false;
    std::optional<LogNote> seen_;                    // what the files were at the last check
    std::optional<const std::uint32_t*> log_index_;  // SQLite's, which all programs share; null: there is none
};

}  // namespace roost
