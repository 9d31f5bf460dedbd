#include "digest.h"

#include <openssl/evp.h>

#include <array>

namespace roost {

namespace {

// Looked up once: EVP_sha256() would be looked up again by each EVP_DigestInit_ex. Nothing if the library failed.
const EVP_MD* sha256() {
    static const EVP_MD* const found = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return found;
}

}  // namespace

struct Digest::Impl {
    struct Free {
        void operator()(EVP_MD_CTX* made) const { EVP_MD_CTX_free(made); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
    bool sound = context && sha256() != nullptr && EVP_DigestInit_ex(context.get(), sha256(), nullptr) == 1;
};

Digest::Digest() : impl_(std::make_unique<Impl>()) {}
Digest::~Digest() = default;
Digest::Digest(Digest&& other) noexcept = default;
Digest& Digest::operator=(Digest&& other) noexcept = default;

void Digest::add(std::string_view bytes) {
    if (impl_->sound) impl_->sound = EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()) == 1;
}

std::string Digest::finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    if (!impl_->sound || EVP_DigestFinal_ex(impl_->context.get(), bytes.data(), &size) != 1) return {};
    return {bytes.begin(), bytes.begin() + size};
}

}  // namespace roost
