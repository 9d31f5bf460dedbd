// One mbox file: opening it safely, and appending to it so that it is never torn.
#pragma once

#include "base/fd.h"
#include "base/files.h"
#include "base/result.h"
#include "lock.h"
#include "staged_text.h"

#include <cstdint>
#include <optional>
#include <string>

namespace roost::mbox {

// How mailboxes are locked and made.
struct Rules {
    LockRules locks;
    mode_t file_mode = 0600;
    std::string folder_file;  // the name of the file in each folder's directory; empty: the folder is a file
};

// The name of the file beside a mailbox that holds its books.
std::string books_name(const std::string& mailbox);

// Opens a file beside others that mail programs share: `flags` as for open(2). An Error if it is not a regular file, or
// has another name, through which somebody could have led Roost to a file of theirs.
Result<Fd> open_own(Files& files, DirRef dir, const std::string& name, int flags, mode_t mode = 0);

// A mailbox that exists, with its books. One thread at a time.
class Mailbox {
public:
    enum class Missing { leave, make };

    // Opens NAME in `dir`. A mailbox exists if its file or its books do: other programs remove a file that they have
    // emptied, and it is made again. Nothing: there is no such mailbox and `missing` says to leave it so.
    // What was made is durable only after the directory was synced, which append does where it matters.
    // `rules` must outlive the mailbox.
    static Result<std::optional<Mailbox>> open(Files& files, const Rules& rules, Fd dir, std::string dir_path,
                                               std::string name, Missing missing);

    DirRef dir() const { return {dir_.get(), dir_path_}; }
    // No message has been put into it yet, or all were taken out again.
    bool is_empty() const;
    std::string path() const { return dir_path_ + "/" + name_; }

    // Appends the text durably and returns by how much the file has grown. Waits for the locks. After an Error the file
    // ends where it ended before, or, where even that failed, the next append sees to it.
    Result<std::uint64_t> append(const StagedText& text);

private:
    Mailbox(Files& files, const Rules& rules, Fd dir, std::string dir_path, std::string name)
        : files_(&files),
          rules_(&rules),
          dir_(std::move(dir)),
          dir_path_(std::move(dir_path)),
          name_(std::move(name)) {}

    Result<bool> open_files(Missing missing);
    Result<bool> still_there();
    Result<std::uint64_t> append_locked(const StagedText& text);
    Result<void> write_text(const std::string& separator, const StagedText& text, std::uint64_t at);
    std::string books_path() const { return dir_path_ + "/" + books_name(name_); }

    Files* files_;
    const Rules* rules_;
    Fd dir_;
    std::string dir_path_;
    std::string name_;
    Fd file_;
    Fd books_;
};

}  // namespace roost::mbox
