// A small file system of a test's own.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <utility>

namespace roost::test {

inline constexpr const char* kNoMount = "needs root, to mount file systems";

// A file system in memory, in a mount namespace of this process's own.
class Tmpfs {
public:
    Tmpfs(std::string path, const std::string& options) : path_(std::move(path)) {
        std::filesystem::create_directory(path_);
        mounted_ = ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                   ::mount("tmpfs", path_.c_str(), "tmpfs", 0, options.c_str()) == 0;
    }
    Tmpfs(const Tmpfs&) = delete;
    Tmpfs& operator=(const Tmpfs&) = delete;
    ~Tmpfs() {
        if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    }
    bool mounted() const { return mounted_; }

private:
    std::string path_;
    bool mounted_ = false;
};

}  // namespace roost::test
