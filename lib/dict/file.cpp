#include "dict/file.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "base/text.h"
#include "dict/file_lock.h"
#include "dict/file_paths.h"
#include "dict/file_table.h"
#include "dict/uri.h"

namespace roost {
namespace {

constexpr std::array<std::string_view, 1> kFileWords{"PATH"};
constexpr std::array<std::string_view, 1> kFileKeys{"lock"};
constexpr auto kLongestWait = std::chrono::minutes(2);  // for a lock; Dovecot's

class FileDict : public Dict {
public:
    FileDict(std::string name, FilePaths paths, FileLockKind lock, Files& files)
        : name_(std::move(name)), paths_(std::move(paths)), lock_(lock), files_(files) {}

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view key,
                      const std::function<bool(std::string_view user, std::string_view value)>& visit,
                      Deadline deadline) override;
    const std::string& name() const override { return name_; }

private:
    // What a file holds; one that is not there holds nothing.
    Result<FileTable> read(const std::string& path);
    Result<void> commit_one(const DictTransaction& transaction, Deadline deadline);
    Error failed(const Error& error) const;

    const std::string name_;
    const FilePaths paths_;
    const FileLockKind lock_;
    Files& files_;
};

Error FileDict::failed(const Error& error) const {
    Error out = error;
    out.what = "cannot use the dict " + name_;
    out.why = error.what + ": " + error.why;
    return out;
}

Result<FileTable> FileDict::read(const std::string& path) {
    auto text = files_.read_small({AT_FDCWD, {}}, path, kLargestDictFile);
    if (text) return FileTable::parse(*text);
    if (text.error().sys == ENOENT || text.error().sys == ENOTDIR) return FileTable();
    return failed(text.error());
}

Result<std::vector<std::optional<std::string>>> FileDict::get(std::string_view user, std::span<const std::string> keys,
                                                              Deadline) {
    auto table = read(paths_.path_of(user));
    if (!table) return std::move(table).error();
    std::vector<std::optional<std::string>> out;
    for (const std::string& key : keys) out.push_back(table->get(key));
    return out;
}

Result<void> FileDict::commit_one(const DictTransaction& transaction, Deadline deadline) {
    const std::string path = paths_.path_of(transaction.user);
    auto lock = FileLock::take(files_, path, lock_, deadline.at_most(kLongestWait));
    if (!lock) return failed(lock.error());
    auto text = lock->read();
    if (!text) return failed(text.error());
    FileTable table = FileTable::parse(text->value_or(""));
    for (const DictChange& change : transaction.changes)
        if (!table.apply(change))
            return failed({Outcome::trouble, path + ": " + printable(change.key), "its value is no number to add to",
                           "correct the file", 0});
    if (table.empty() && !*text) return {};
    auto replaced = lock->replace(table.text());
    return replaced ? Result<void>() : failed(replaced.error());
}

Result<void> FileDict::commit(std::span<const DictTransaction> transactions, Deadline deadline) {
    for (const DictTransaction& transaction : transactions) {
        if (transaction.changes.empty()) continue;
        if (deadline.expired())
            return failed({Outcome::trouble, "its files", "no time was left for all of them", {}, 0});
        if (auto done = commit_one(transaction, deadline); !done) return done;
    }
    return {};
}

Result<void> FileDict::each(std::string_view key,
                            const std::function<bool(std::string_view user, std::string_view value)>& visit,
                            Deadline deadline) {
    const std::string wanted(key);
    const auto look = [&](const std::string& user, const std::string& path) -> Result<bool> {
        if (deadline.expired())
            return failed({Outcome::trouble, "its files", "no time was left for all of them", {}, 0});
        auto table = read(path);
        if (!table) return std::move(table).error();
        const auto value = table->get(wanted);
        return !value || visit(user, *value);
    };
    auto done = paths_.each(look);
    return done ? Result<void>() : std::move(done).error();
}

}  // namespace

Result<std::unique_ptr<Dict>> make_file_dict(std::string_view text, Files& files) {
    auto uri = DictUri::parse(text, {kFileWords, kFileKeys});
    if (!uri) return std::move(uri).error();
    auto paths = FilePaths::make(uri->word(0));
    if (!paths) return uri->wrong(paths.error().why, paths.error().hint);
    FileLockKind lock = FileLockKind::dotlock;
    const std::string kind = uri->get("lock", "dotlock");
    if (kind == "fcntl")
        lock = FileLockKind::fcntl;
    else if (kind == "flock")
        lock = FileLockKind::flock;
    else if (kind != "dotlock")
        return uri->wrong("lock=" + printable(kind) + " is no kind of lock", "write lock=dotlock, fcntl or flock");
    return std::unique_ptr<Dict>(std::make_unique<FileDict>(uri->name(), *std::move(paths), lock, files));
}

}  // namespace roost
