// A file system in a file, whose power can be cut.
#pragma once

#include <string>

namespace roost::fault {

// One ext4 or XFS file system, mounted in a mount namespace of this process's own. Failures throw std::runtime_error.
class LoopVolume {
public:
    // Why no such file system can be had here; empty if one can. Enters the namespace: call it before any thread
    // starts.
    static std::string missing();

    // Makes DIR/TYPE.img and mounts it at DIR/TYPE; `type` is ext4 or xfs.
    LoopVolume(const std::string& dir, std::string type);
    LoopVolume(const LoopVolume&) = delete;
    LoopVolume& operator=(const LoopVolume&) = delete;
    ~LoopVolume();

    const std::string& type() const { return type_; }
    const std::string& path() const { return mount_; }

    // From now on every access fails, and what is not durable is lost. Any thread, while others use the volume.
    void cut();
    // Starts again: unmounts and mounts, which recovers from the file system's journal. Nothing on it may be open.
    void recover();

private:
    void mount() const;
    void unmount() const;

    std::string type_;
    std::string image_;
    std::string mount_;
};

}  // namespace roost::fault
