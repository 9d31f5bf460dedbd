// File operations that fail when a test wants them to.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/files.h"

namespace roost::test {

// Does what Files does, except where armed. Any thread while not armed.
class FaultyFiles : public Files {
public:
    // The operation number `nth` from now, counted from 1, fails with `sys`; those after it work again. A failing
    // write() writes half first.
    void arm(std::size_t nth, int sys) {
        count_ = 0;
        nth_ = nth;
        sys_ = sys;
    }
    void disarm() { nth_ = 0; }
    // Whether that operation was reached.
    bool fired() const { return count_ >= nth_; }
    // Which one it was.
    const std::string& failed_operation() const { return failed_operation_; }

    // Called before each operation with its name and the last path component it is about; a number other than 0 is the
    // errno that it fails with.
    std::function<int(std::string_view operation, const std::string& name, DirRef dir)> before;
    // What made() says in place of the file system.
    std::optional<std::optional<std::int64_t>> made_at;
    // May change what stat() found.
    std::function<void(const std::string& name, struct stat&)> on_stat;

    Result<Fd> open(DirRef dir, const std::string& name, int flags, mode_t mode, Follow follow) override {
        if (auto fault = fails("open", name, dir)) return *fault;
        return Files::open(dir, name, flags, mode, follow);
    }
    Result<Fd> open_dir(DirRef dir, const std::string& name, Follow follow) override {
        if (auto fault = fails("open_dir", name, dir)) return *fault;
        return Files::open_dir(dir, name, follow);
    }
    Result<bool> make_dir(DirRef dir, const std::string& name, mode_t mode) override {
        if (auto fault = fails("make_dir", name, dir)) return *fault;
        return Files::make_dir(dir, name, mode);
    }
    Result<void> rename_new(DirRef from, const std::string& old_name, DirRef to, const std::string& name) override {
        if (auto fault = fails("rename_new", name, to)) return *fault;
        return Files::rename_new(from, old_name, to, name);
    }
    Result<void> rename(DirRef from, const std::string& old_name, DirRef to, const std::string& name) override {
        if (auto fault = fails("rename", name, to)) return *fault;
        return Files::rename(from, old_name, to, name);
    }
    Result<void> link(DirRef from, const std::string& old_name, DirRef to, const std::string& name) override {
        if (auto fault = fails("link", name, to)) return *fault;
        return Files::link(from, old_name, to, name);
    }
    Result<void> give_name(int fd, DirRef to, const std::string& name) override {
        if (auto fault = fails("give_name", name, to)) return *fault;
        return Files::give_name(fd, to, name);
    }
    Result<void> unlink(DirRef dir, const std::string& name) override {
        if (auto fault = fails("unlink", name, dir)) return *fault;
        return Files::unlink(dir, name);
    }
    Result<void> remove_dir(DirRef dir, const std::string& name) override {
        if (auto fault = fails("remove_dir", name, dir)) return *fault;
        return Files::remove_dir(dir, name);
    }
    Result<void> write(int fd, std::string_view data, std::string_view path) override {
        if (auto fault = fails("write", std::string(path), {fd, {}})) {
            static_cast<void>(Files::write(fd, data.substr(0, data.size() / 2), path));
            return *fault;
        }
        return Files::write(fd, data, path);
    }
    Result<void> write_at(int fd, std::uint64_t offset, std::string_view data, std::string_view path) override {
        if (auto fault = fails("write_at", std::string(path), {fd, {}})) return *fault;
        return Files::write_at(fd, offset, data, path);
    }
    Result<void> read_at(int fd, std::uint64_t offset, std::span<char> bytes) override {
        if (auto fault = fails("read_at", std::to_string(offset) + "+" + std::to_string(bytes.size()), {fd, {}}))
            return *fault;
        return Files::read_at(fd, offset, bytes);
    }
    Result<void> copy(int from, std::uint64_t offset, std::uint64_t size, int to, std::string_view path) override {
        if (auto fault = fails("copy", std::string(path), {to, {}})) return *fault;
        return Files::copy(from, offset, size, to, path);
    }
    Result<void> truncate(int fd, std::uint64_t size, std::string_view path) override {
        if (auto fault = fails("truncate", std::string(path), {fd, {}})) return *fault;
        return Files::truncate(fd, size, path);
    }
    Result<void> clone(int from, int to, std::string_view path) override {
        if (auto fault = fails("clone", std::string(path), {to, {}})) return *fault;
        return Files::clone(from, to, path);
    }
    Result<void> set_mode(int fd, mode_t mode, std::string_view path) override {
        if (auto fault = fails("set_mode", std::string(path), {fd, {}})) return *fault;
        return Files::set_mode(fd, mode, path);
    }
    Result<void> set_owner(int fd, uid_t uid, gid_t gid, std::string_view path) override {
        if (auto fault = fails("set_owner", std::string(path), {fd, {}})) return *fault;
        return Files::set_owner(fd, uid, gid, path);
    }
    Result<void> sync_data(int fd, std::string_view path) override {
        if (auto fault = fails("sync_data", std::string(path), {fd, {}})) return *fault;
        return Files::sync_data(fd, path);
    }
    Result<void> sync(int fd, std::string_view path) override {
        if (auto fault = fails("sync", std::string(path), {fd, {}})) return *fault;
        return Files::sync(fd, path);
    }
    Result<void> sync_volume(int fd, std::string_view path) override {
        if (auto fault = fails("sync_volume", std::string(path), {fd, {}})) return *fault;
        return Files::sync_volume(fd, path);
    }
    Result<struct stat> stat(DirRef dir, const std::string& name) override {
        if (auto fault = fails("stat", name, dir)) return *fault;
        auto found = Files::stat(dir, name);
        if (found && on_stat) on_stat(name, *found);
        return found;
    }
    std::optional<std::int64_t> made(int fd) override { return made_at ? *made_at : Files::made(fd); }

private:
    std::optional<Error> fails(std::string_view operation, const std::string& name, DirRef dir) {
        int sys = 0;
        if (++count_ == nth_) {
            sys = sys_;
            failed_operation_ = operation;
        }
        if (sys == 0 && before) sys = before(operation, name, dir);
        if (sys == 0) return std::nullopt;
        return system_error(sys, "injected into " + std::string(operation) + " of " + name);
    }

    std::atomic<std::size_t> count_{0};
    std::size_t nth_ = 0;
    int sys_ = 0;
    std::string failed_operation_;
};

}  // namespace roost::test
