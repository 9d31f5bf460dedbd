#include "loop_volume.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace roost::fault {
namespace {

// FS_IOC_SHUTDOWN, which is XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN as well. Debian 12's headers have none of them.
constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t kNoLogFlush = 2;

bool succeeds(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;  // NOLINT: no thread runs yet, or none that forks
}

void run(const std::string& command) {
    if (!succeeds(command)) throw std::runtime_error("failed: " + command);
}

}  // namespace

std::string LoopVolume::missing() {
    if (::geteuid() != 0) return "only root can mount file systems";
    for (const char* tool : {"mkfs.ext4", "mkfs.xfs", "mount", "umount"})
        if (!succeeds(std::string("command -v ") + tool)) return std::string(tool) + " is not installed";
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return "a mount namespace is not to be had here";
    if (!succeeds("losetup -f")) return "loop devices are not to be had here";
    return {};
}

LoopVolume::LoopVolume(const std::string& dir, std::string type)
    : type_(std::move(type)), image_(dir + "/" + type_ + ".img"), mount_(dir + "/" + type_) {
    std::filesystem::create_directories(mount_);
    run("truncate -s 512M " + image_);  // sparse
    run("mkfs." + type_ + (type_ == "ext4" ? " -q -F " : " -q -f ") + image_);
    mount();
}

LoopVolume::~LoopVolume() {
    static_cast<void>(succeeds("umount " + mount_));
    std::error_code ignored;
    std::filesystem::remove(image_, ignored);
}

void LoopVolume::mount() const { run("mount -t " + type_ + " -o loop " + image_ + " " + mount_); }

void LoopVolume::unmount() const { run("umount " + mount_); }

void LoopVolume::cut() {
    const int root = ::open(mount_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::uint32_t how = kNoLogFlush;
    const int done = root < 0 ? -1 : ::ioctl(root, kShutdown, &how);
    const int sys = errno;
    if (root >= 0) ::close(root);
    if (done != 0) throw std::system_error(sys, std::generic_category(), "cannot shut " + mount_ + " down");
}

void LoopVolume::recover() {
    unmount();
    mount();
}

}  // namespace roost::fault
