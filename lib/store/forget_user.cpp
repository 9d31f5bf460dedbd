#include "store/forget_user.h"

#include <utility>

#include "quota/domain_books.h"
#include "store/dict_counters.h"
#include "store/instance.h"
#include "store/journal.h"
#include "store/unified.h"
#include "store/warner.h"

namespace roost {
namespace {

class Forgetting {
public:
    Forgetting(const Config& config, Files& files, const std::string& name)
        : config_(config), files_(files), name_(name), state_(config.text("store.state")) {
        const std::size_t at = name.rfind('@');
        if (at != std::string::npos) domain_ = name.substr(at + 1);
    }

    std::vector<Error> run() {
        attempt(forget_warnings(files_, state_, name_));
        attempt(forget_counters());
        attempt(forget_unified());
        attempt(Journal::forget_kept(files_, state_ + "/journal", name_));
        return std::move(errors_);
    }

private:
    void attempt(Result<void> done) {
        if (!done) errors_.push_back(std::move(done).error());
    }

    Result<void> forget_counters() {
        auto dict = authority_of(config_);
        if (!dict) return std::move(dict).error();
        if (!*dict) return domain_.empty() ? Result<void>() : forget_domain_books();
        DictCounters counters(**dict, files_, state_);
        auto gone = counters.remove(name_);
        if (!gone) {
            counters.doubt(name_);
            gone.error().hint = "roostd, or \"roost quota recount --all\", unsets the user's counters once it is back";
        }
        const std::string domain = "@" + domain_;
        if (!domain_.empty()) {
            const auto said = counters.peek(domain);
            if (!said || *said) counters.doubt(domain);
        }
        return gone;
    }

    // After a sum that may have seen the user.
    Result<void> forget_domain_books() {
        DomainBooks books(files_, state_);
        auto turn = books.begin(domain_);
        return turn ? books.forget(domain_) : Result<void>(std::move(turn).error());
    }

    Result<void> forget_unified() {
        auto dict = dict_of(config_, "quota.unified.dict");
        if (!dict) return std::move(dict).error();
        if (!*dict) return {};
        Unified unified(**dict, files_, state_, {}, {});
        auto gone = unified.forget(name_, std::string(config_.text("quota.unified.name")));
        if (!gone) gone.error().hint = "what the mail held stays there";
        return gone;
    }

    const Config& config_;
    Files& files_;
    const std::string& name_;
    std::string domain_;
    std::string state_;
    std::vector<Error> errors_;
};

}  // namespace

std::vector<Error> forget_user(const Config& config, Files& files, const std::string& name) {
    return Forgetting(config, files, name).run();
}

}  // namespace roost
