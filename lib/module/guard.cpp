// The module boundary: an exception of a module ends here and becomes an Error, once for all functions.
#include <exception>
#include <new>

#include "module/loader.h"

namespace roost {
namespace {

// Calls `call`; whatever it throws comes back as an Error that names the module.
template <class Call>
auto guarded(const ModuleInfo& module, Call call) -> decltype(call()) {
    const auto failed = [&](const char* why) {
        const std::string kind(module_kind_name(module.kind));
        return Error{Outcome::trouble, kind + " module " + module.name, why, "this is a fault in the module", 0};
    };
    try {
        return call();
    } catch (const std::bad_alloc&) {
        return failed("out of memory");
    } catch (const std::exception& e) {
        return failed(e.what());
    } catch (...) {
        return failed("it threw something that is no exception");
    }
}

Error made_nothing(const ModuleInfo& module) {
    return {Outcome::trouble, std::string(module_kind_name(module.kind)) + " module " + module.name, "it made nothing",
            "this is a fault in the module", 0};
}

class GuardedPending : public Pending {
public:
    GuardedPending(const ModuleInfo& module, std::unique_ptr<Pending> inner)
        : module_(module), inner_(std::move(inner)) {}
    const SyncPlan& plan() const override { return inner_->plan(); }
    Result<Receipt> publish() override {
        return guarded(module_, [&] { return inner_->publish(); });
    }
    Result<void> withdraw() override {
        return guarded(module_, [&] { return inner_->withdraw(); });
    }
    Redo redo() const override { return inner_->redo(); }
    Staged staged() const override { return inner_->staged(); }

private:
    const ModuleInfo& module_;
    std::unique_ptr<Pending> inner_;
};

class GuardedMda : public Mda {
public:
    GuardedMda(const ModuleInfo& module, std::unique_ptr<Mda> inner) : module_(module), inner_(std::move(inner)) {}

    Result<Readiness> check(const User& user) override {
        return guarded(module_, [&] { return inner_->check(user); });
    }
    Result<Settings> allocate(const User& user) override {
        return guarded(module_, [&] { return inner_->allocate(user); });
    }
    Result<void> release(const User& user, const Settings& allocation) override {
        return guarded(module_, [&] { return inner_->release(user, allocation); });
    }
    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery,
                                             const Message& message) override {
        return guarded(module_, [&]() -> Result<std::unique_ptr<Pending>> {
            auto pending = inner_->prepare(user, delivery, message);
            if (!pending) return pending;
            if (*pending == nullptr)
                return Error{Outcome::trouble, std::string("mda module ") + module_.name, "it prepared nothing",
                             "this is a fault in the module", 0};
            return std::unique_ptr<Pending>(std::make_unique<GuardedPending>(module_, *std::move(pending)));
        });
    }
    Result<bool> restore(const User& user, const std::string& place, const std::string& header,
                         const Message& message) override {
        return guarded(module_, [&] { return inner_->restore(user, place, header, message); });
    }
    Result<Folder> destination(const User& user, const Folder& wanted, bool create_folder) override {
        return guarded(module_, [&] { return inner_->destination(user, wanted, create_folder); });
    }
    Result<void> settle_restored() override {
        return guarded(module_, [&] { return inner_->settle_restored(); });
    }
    Result<Usage> usage(const User& user, const Folder& account, const Usage& coming) override {
        return guarded(module_, [&] { return inner_->usage(user, account, coming); });
    }
    Result<Usage> recount(const User& user, const Folder& account) override {
        return guarded(module_, [&] { return inner_->recount(user, account); });
    }
    Result<void> purge(const User& user) override {
        return guarded(module_, [&] { return inner_->purge(user); });
    }
    Result<std::optional<std::vector<std::string>>> directories() override {
        return guarded(module_, [&] { return inner_->directories(); });
    }

private:
    const ModuleInfo& module_;
    std::unique_ptr<Mda> inner_;
};

class GuardedCreator : public Creator {
public:
    GuardedCreator(const ModuleInfo& module, std::unique_ptr<Creator> inner)
        : module_(module), inner_(std::move(inner)) {}
    Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline deadline) override {
        return guarded(module_, [&] { return inner_->create(db, mda, seen, deadline); });
    }

private:
    const ModuleInfo& module_;
    std::unique_ptr<Creator> inner_;
};

}  // namespace

Result<std::unique_ptr<Mda>> make_mda(const ModuleInfo& module, const ModuleHost& host) {
    auto made = guarded(module, [&] { return module.make_mda(host); });
    if (!made) return std::move(made).error();
    if (*made == nullptr) return made_nothing(module);
    return std::unique_ptr<Mda>(std::make_unique<GuardedMda>(module, *std::move(made)));
}

Result<std::unique_ptr<Creator>> make_creator(const ModuleInfo& module, const ModuleHost& host) {
    auto made = guarded(module, [&] { return module.make_creator(host); });
    if (!made) return std::move(made).error();
    if (*made == nullptr) return made_nothing(module);
    return std::unique_ptr<Creator>(std::make_unique<GuardedCreator>(module, *std::move(made)));
}

}  // namespace roost
