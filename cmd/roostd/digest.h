// SHA-256, piece by piece.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace roost {

// The digest of a sequence of bytes. One thread at a time.
class Digest {
public:
    Digest();
    ~Digest();
    Digest(Digest&& other) noexcept;
    Digest& operator=(Digest&& other) noexcept;

    void add(std::string_view bytes);
    // 32 bytes; the object is of no further use. Empty if the library failed.
    std::string finish();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace roost
