#include "db/database.h"

#include "base/fd.h"

#include <soci/sqlite3/soci-sqlite3.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <thread>

namespace roost {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kScheme = "sqlite:";
constexpr mode_t kMode = 0640;

// Up to this size the write-ahead log costs the next opening, which reads it, less than folding it back costs a writer.
constexpr std::uint64_t kSmallLog = 65536;

// The write-ahead log's own header: https://www.sqlite.org/fileformat.html#walformat
constexpr std::uint64_t kLogHeader = 32;

// The index of the log is shared memory in regions of this size. It begins with a header of twelve 32-bit numbers,
// among them a counter of commits, the length of the log and its checksum: https://www.sqlite.org/walformat.html
constexpr int kIndexRegion = 32768;

sqlite_api::sqlite3* handle(soci::session& session) {
    return static_cast<soci::sqlite3_session_backend*>(session.get_backend())->conn_;
}

sqlite_api::sqlite3_file* file_of(soci::session& session) {
    sqlite_api::sqlite3_file* file = nullptr;
    const int code = sqlite_api::sqlite3_file_control(handle(session), "main", SQLITE_FCNTL_FILE_POINTER, &file);
    return code != SQLITE_OK || file == nullptr || file->pMethods == nullptr ? nullptr : file;
}

// As it is in the file, whatever the log says; of an empty file, zeros. Through SQLite's own descriptor: closing
// another would drop the locks that this process holds on the file (fcntl(2)). No lock keeps a checkpoint from writing
// meanwhile, so it is read until it stays the same.
bool read_header(sqlite_api::sqlite3_file* file, LogNote::Header& out) {
    constexpr int kTries = 10;
    LogNote::Header last{};
    for (int i = 0; i <= kTries; ++i) {
        const int code = file->pMethods->xRead(file, out.data(), LogNote::kHeader, 0);
        if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return false;
        if (i > 0 && out == last) return true;
        last = out;
    }
    return false;
}

// The primary result code: the extended ones add detail in the higher bits.
int primary(int code) { return code & 0xff; }

Result<std::string> path_of(const std::string& url) {
    const std::string what = "users.database '" + url + "'";
    if (!url.starts_with(kScheme)) return config_error(what, "not a database that Roost can use", "write sqlite:PATH");
    std::string path = url.substr(kScheme.size());
    if (!path.starts_with('/')) return config_error(what, "not an absolute path", "write sqlite:/PATH");
    // SOCI takes such a text for a list of options.
    if (path.find('=') != std::string::npos && path.find(' ') != std::string::npos)
        return config_error(what, "the path has both a blank and '='", "choose another name");
    return path;
}

Error not_there(const std::string& path) {
    return config_error("cannot open the user database " + path, "there is no such file",
                        "check users.database, or make it: roost database create");
}

// Makes SQLite take URIs for names, and no memory in advance for the many queries that will not come. Whether it could:
// that can be chosen only while nobody is using SQLite yet.
bool set_up_for_once() {
    using sqlite_api::sqlite3_config;
    static std::atomic<bool> chosen{false};
    if (!chosen && sqlite3_config(SQLITE_CONFIG_URI, 1) == SQLITE_OK) {
        sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0);
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        chosen = true;
    }
    return chosen;
}

// SQLite's URI of the file, by which it neither writes nor sets up shared memory, in SOCI's way of writing it.
std::string name_for_once(const std::string& path) {
    if (!set_up_for_once()) return path;
    std::string uri = "db=\"file:";
    for (const char c : path) {
        if (c == '%' || c == '?' || c == '#' || c == '"' || c == ' ' || c == '=') {
            std::array<char, 4> escaped{};
            std::snprintf(escaped.data(), escaped.size(), "%%%02X", static_cast<unsigned>(c));
            uri += escaped.data();
        } else {
            uri += c;
        }
    }
    return uri + "?mode=ro&readonly_shm=1\"";
}

// A writer that was killed, or ran out of room, before its first record leaves a log that is a header alone. SQLite
// without shared memory takes that for a log that is being written anew, and waits ten seconds for its end.
bool log_holds_up(const std::string& path) {
    std::uint64_t size = 0;
    return identify(path + "-wal", &size) && size == kLogHeader;
}

// Makes an empty file, which SQLite takes for an empty database: so its mode is ours to choose. Made by root, it must
// serve those whom the directory belongs to.
Result<void> make_file(const std::string& path) {
    const std::string parent = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kMode));
    if (!fd && errno == EEXIST) return {};
    struct stat st {};
    if (fd && (::geteuid() != 0 || ::stat(parent.c_str(), &st) < 0 || ::fchown(fd.get(), st.st_uid, st.st_gid) == 0))
        return {};
    const int sys = errno;
    if (fd) {
        ::unlink(path.c_str());
        return system_error(sys, "cannot set the owner of " + path);
    }
    return system_error(
        sys, "cannot make the user database " + path,
        sys == ENOENT ? "make its directory first: mkdir -p " + parent : "check its directory " + parent);
}

// What SQLite would report in words that do not help, or not before the first query.
Result<void> check_file(const std::string& path, Database::Missing missing) {
    const std::string what = "cannot open the user database " + path;
    struct stat st {};
    if (::stat(path.c_str(), &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR) return system_error(errno, what, "check its directory");
        if (missing == Database::Missing::fail) return not_there(path);
        return make_file(path);
    }
    if (S_ISDIR(st.st_mode)) return config_error(what, "it is a directory", "users.database names a file");
    if (!S_ISREG(st.st_mode)) return config_error(what, "it is not a regular file", "check users.database");
    // Not open(2): closing that descriptor would drop the locks that this process holds on the file (fcntl(2)).
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) < 0)
        return system_error(errno, what, "let user id " + std::to_string(::geteuid()) + " read and write it");
    return {};
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& url, Missing missing,
                                                 std::chrono::milliseconds busy_time, Use use) {
    auto path = path_of(url);
    if (!path) return std::move(path).error();
    auto usable = check_file(*path, missing);
    if (!usable) return std::move(usable).error();
    if (use == Use::once && log_holds_up(*path)) use = Use::lasting;
    try {
        return std::unique_ptr<Database>(new Database(*path, use, busy_time));
    } catch (const soci::soci_error& e) {
        return Error{Outcome::trouble, "cannot open the user database " + *path, e.get_error_message(),
                     "check the file and its directory", 0};
    }
}

Result<std::unique_ptr<Database>> Database::another() const {
    return open(std::string(kScheme) + path_, Missing::fail, busy_time_,
                use_ == Use::command ? Use::command : Use::lasting);
}

Database::Database(std::string path, Use use, std::chrono::milliseconds busy_time)
    : path_(std::move(path)), use_(use), busy_time_(busy_time) {
    connect(use == Use::once ? name_for_once(path_) : path_);
}

void Database::connect(const std::string& name) {
    session_.open(soci::sqlite3, name);
    sqlite_api::sqlite3_busy_timeout(handle(session_), busy_timeout());
    // Else each process that happens to be alone would fold the log back, sync it and remove its files when it ends.
    sqlite_api::sqlite3_db_config(handle(session_), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

int Database::busy_timeout() const { return static_cast<int>(std::min<std::int64_t>(busy_time_.count(), INT_MAX)); }

void Database::make_lasting() {
    forget_statements_();
    session_.close();
    connect(path_);
    use_ = Use::lasting;
    log_index_.reset();
}

Database::~Database() {
    if (!wrote_) return;
    if (use_ == Use::command)
        fold_log();
    else
        shorten_log();
}

// Where SQLite has it: beside the file that a symbolic link at path_ leads to.
std::string Database::log_path() {
    return sqlite_api::sqlite3_filename_wal(sqlite_api::sqlite3_db_filename(handle(session_), "main"));
}

// Without waiting: whoever is using the log may shorten it later.
void Database::shorten_log() noexcept {
    std::uint64_t size = 0;
    if (identify(log_path(), &size) && size > kSmallLog)
        fold_log();
    else
        (void)check_place();  // for the note, if this connection was the first that wrote
}

void Database::fold_log() noexcept {
    if (!check_place()) return;
    sqlite_api::sqlite3_busy_timeout(handle(session_), 0);
    const int code =
        sqlite_api::sqlite3_wal_checkpoint_v2(handle(session_), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    // An empty log fits any file that is put in the database's place.
    if (code == SQLITE_OK) remove_log_note(log_path());
    sqlite_api::sqlite3_busy_timeout(handle(session_), busy_timeout());
}

// Where SQLite itself has it in memory, as long as the connection is open. While one is, no program can make the
// database do without its log.
const std::uint32_t* Database::find_log_index() {
    if (use_ == Use::once) return nullptr;
    std::string mode;
    session_ << "PRAGMA journal_mode", soci::into(mode);
    if (mode != "wal") return nullptr;
    sqlite_api::sqlite3_file* file = file_of(session_);
    if (file == nullptr || file->pMethods->iVersion < 2) return nullptr;
    void volatile* index = nullptr;
    if (file->pMethods->xShmMap(file, 0, kIndexRegion, 0, &index) != SQLITE_OK) return nullptr;
    return static_cast<const std::uint32_t*>(const_cast<const void*>(index));
}

std::optional<Database::State> Database::state() {
    if (!log_index_) try {
            log_index_ = find_log_index();
        } catch (const soci::soci_error&) {
            return std::nullopt;  // later, perhaps
        }
    if (*log_index_ == nullptr) return std::nullopt;
    State out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = __atomic_load_n(*log_index_ + i, __ATOMIC_ACQUIRE);
    if (out.front() == 0) return std::nullopt;  // its version: somebody is about to make it anew
    return out;
}

Result<void> Database::check_place() {
    int moved = 0;
    sqlite_api::sqlite3_file_control(handle(session_), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved == 0) return check_log();
    return Error{Outcome::trouble, "the user database " + path_, "the file was replaced or removed while it was in use",
                 "reload roostd", 0};
}

Result<void> Database::check_log() {
    const std::string log = log_path();
    std::uint64_t size = 0;
    const auto log_file = identify(log, &size);
    // Without a log, a transaction that is rolled back may change the file's beginning forth and back.
    if (!log_file && (!log_index_ || *log_index_ == nullptr)) return {};
    // Before the header, else the note could be of a later checkpoint.
    const auto noted = log_file ? read_log_note(log, *log_file) : std::nullopt;
    const auto database = identify(sqlite_api::sqlite3_db_filename(handle(session_), "main"));
    sqlite_api::sqlite3_file* file = file_of(session_);
    LogNote now{log_file.value_or(LogNote::File{}), database.value_or(LogNote::File{}), {}};
    if (!database || file == nullptr || !read_header(file, now.header)) return {};  // reading will tell

    if (noted && size > kLogHeader && !now.follows(*noted))
        return Error{Outcome::trouble, "the user database " + path_,
                     "it was replaced, and " + log + " of the former one still lies beside it",
                     "stop roostd, remove that file and " + path_ +
                         "-shm, put the database in place again and start "
                         "roostd: see BACKUP in roost-users(5)",
                     0};
    if (seen_ && !now.follows(*seen_))
        return Error{Outcome::trouble, "the user database " + path_, "the file was overwritten while it was in use",
                     "reload roostd", 0};
    seen_ = now;
    if (!log_file || noted == now) return {};
    // A power cut must not leave the note ahead of the file.
    if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) == SQLITE_OK) write_log_note(log, now);
    return {};
}

Database::Transaction::Transaction(Database& db) : db_(db) {
    db_.prepare_writing();
    db_.session_ << "BEGIN IMMEDIATE";
}

Database::Transaction::~Transaction() {
    if (!open_) return;
    // Some failures have rolled back already, and a failure to roll back has no remedy here: the next BEGIN reports it.
    sqlite_api::sqlite3_exec(handle(db_.session_), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Database::Transaction::commit() {
    db_.session_ << "COMMIT";
    open_ = false;
}

// A commit must survive a power cut; the library's default may be weaker in write-ahead mode.
void Database::prepare_writing() {
    if (wrote_) return;
    if (use_ == Use::once) make_lasting();
    session_ << "PRAGMA synchronous = FULL";
    wrote_ = true;
}

void Database::run(const std::string& sql) {
    const int code = sqlite_api::sqlite3_exec(handle(session_), sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) throw soci::sqlite3_soci_error(sqlite_api::sqlite3_errmsg(handle(session_)), code);
}

// SQLite does not always wait here, because it needs the file for itself: several programs may be making it at once.
Result<void> Database::use_write_ahead_log() {
    const auto until = std::chrono::steady_clock::now() + busy_time_;
    while (true) {
        auto done = read("switch to write-ahead logging", [&](soci::session&) -> Result<void> {
            run("PRAGMA journal_mode = WAL");
            return {};
        });
        const int code = primary(sqlite_api::sqlite3_errcode(handle(session_)));
        if (done || code != SQLITE_BUSY || std::chrono::steady_clock::now() >= until) return done;
        std::this_thread::sleep_for(5ms);
    }
}

Error Database::current_error(std::string_view task) const {
    try {
        throw;
    } catch (const soci::sqlite3_soci_error& e) {
        return sqlite_error(task, e.result(), e.get_error_message());
    } catch (const std::exception& e) {
        return {Outcome::trouble, "cannot " + std::string(task) + " in " + path_, e.what(), {}, 0};
    }
}

Error Database::sqlite_error(std::string_view task, int code, std::string why) const {
    Error error{Outcome::trouble, "cannot " + std::string(task) + " in " + path_, std::move(why), {}, 0};
    // SOCI puts the names of its functions before SQLite's message.
    if (const auto colon = error.why.find(": "); error.why.starts_with("sqlite3_") && colon != std::string::npos)
        error.why.erase(0, colon + 2);
    switch (primary(code)) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            error.why = "another program kept it locked for more than " + std::to_string(busy_time_.count()) + " ms";
            error.hint = "find it with fuser " + path_ + ", or raise users.busy-time";
            break;
        case SQLITE_FULL:
            error.outcome = Outcome::store_full;
            error.hint = "make room on its file system";
            break;
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
            error.hint = "let user id " + std::to_string(::geteuid()) +
                         " read and write it, its -wal and -shm files and its directory";
            break;
        case SQLITE_NOTADB:
            error.hint = "users.database must name an SQLite 3 database";
            break;
        case SQLITE_CORRUPT:
            error.hint = "restore a backup as in roost-users(5), or try the .recover command of sqlite3";
            break;
        case SQLITE_IOERR:
            error.hint = "the storage reports an error; look at the kernel's log";
            break;
        default:
            break;
    }
    return error;
}

}  // namespace roost
