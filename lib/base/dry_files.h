// File operations that read what is there and change nothing: for dry runs.
#pragma once

#include "base/files.h"

namespace roost {

// What is opened for writing is the present file, read only, or a new one in memory; everything else that would change
// something succeeds without doing it. So code that finds out and then writes down what it found still finds out, but
// nobody can read back what he wrote. Any thread.
class DryFiles : public Files {
public:
    Result<Fd> open(DirRef dir, const std::string& name, int flags, mode_t mode, Follow follow) override;
    Result<bool> make_dir(DirRef dir, const std::string& name, mode_t mode) override;
    Result<void> rename_new(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> rename(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> link(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> give_name(int fd, DirRef to, const std::string& name) override;
    Result<void> unlink(DirRef dir, const std::string& name) override;
    Result<void> remove_dir(DirRef dir, const std::string& name) override;
    Result<void> write(int fd, std::string_view data, std::string_view path) override;
    Result<void> write_at(int fd, std::uint64_t offset, std::string_view data, std::string_view path) override;
    Result<void> copy(int from, std::uint64_t offset, std::uint64_t size, int to, std::string_view path) override;
    Result<void> truncate(int fd, std::uint64_t size, std::string_view path) override;
    Result<void> clone(int from, int to, std::string_view path) override;
    Result<void> set_mode(int fd, mode_t mode, std::string_view path) override;
    Result<void> set_owner(int fd, uid_t uid, gid_t gid, std::string_view path) override;
    Result<void> sync_data(int fd, std::string_view path) override;
    Result<void> sync(int fd, std::string_view path) override;
    Result<void> sync_volume(int fd, std::string_view path) override;
};

}  // namespace roost
