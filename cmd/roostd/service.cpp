#include "service.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>

#include "base/log.h"
#include "store/settle.h"
#include "store/warner.h"

namespace roost {
namespace {

// What the memory of lost verdicts may hold: some megabytes.
constexpr std::size_t kRedeliveries = 32768;
// What the policy service may remember: some megabytes, and no message takes longer to come.
constexpr std::size_t kPolicyRecipients = 50000;
constexpr std::chrono::hours kPolicySpan{1};

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    return name.data();
}

}  // namespace

Result<std::shared_ptr<const Setup>> load_setup(const std::string& config_path,
                                                const std::vector<std::string>& overrides,
                                                Instance::Journaling journaling, const Ready& ready,
                                                const Setup* former) {
    auto config = load_config(config_path, overrides);
    if (!config) return std::move(config).error();
    auto out = std::make_shared<Setup>();
    auto lmtp = read_lmtp_settings(*config);
    if (!lmtp) return std::move(lmtp).error();
    out->lmtp = *std::move(lmtp);
    auto policy = read_policy_settings(*config);
    if (!policy) return std::move(policy).error();
    out->policy = *std::move(policy);
    auto metrics = read_metrics_endpoint(*config);
    if (!metrics) return std::move(metrics).error();
    out->metrics = *std::move(metrics);
    auto instance = Instance::open(*std::move(config), SqlUserDb::Use::lasting, journaling,
                                   former == nullptr ? nullptr : former->instance.get(),
                                   [&](Instance& made) { return ready(made, *out); });
    if (!instance) return std::move(instance).error();
    out->instance = *std::move(instance);
    return std::shared_ptr<const Setup>(std::move(out));
}

Service::Service(std::shared_ptr<const Setup> setup)
    : setup_(std::move(setup)),
      host_(host_name()),
      redelivery_(setup_->lmtp.redelivery_window, kRedeliveries),
      recipients_(kPolicyRecipients, kPolicySpan),
      after_([this] { return this->setup()->instance; },
             [this](Instance& instance, const std::string& user) {
                 warn_after_delivery(instance, user, [this](Command command) { commands_.add(std::move(command)); });
                 settle_usage(instance, user);
             }),
      metrics_([this] {
          const Instance& instance = *this->setup()->instance;
          return SyncFigures::of(instance.durability().stats(), instance.sync_failures());
      }) {}

std::shared_ptr<const Setup> Service::setup() const {
    const std::lock_guard lock(mutex_);
    return setup_;
}

void Service::replace_setup(std::shared_ptr<const Setup> setup) {
    redelivery_.set_window(setup->lmtp.redelivery_window);
    {
        const std::lock_guard lock(mutex_);
        setup_.swap(setup);  // the old one goes with its last transaction
    }
    after_.reloaded();
}

lmtp::Terms Service::terms(const net::Connection& connection, const Setup& setup) const {
    lmtp::Terms out;
    out.host = host_;
    out.max_message = setup.lmtp.max_message;
    out.max_recipients = setup.lmtp.max_recipients;
    out.max_errors = setup.lmtp.max_errors;
    out.offer_starttls = setup.lmtp.tls != nullptr && connection.can_start_tls();
    out.require_tls = setup.lmtp.require_tls && !connection.peer().local;
    out.trusted = setup.lmtp.trusted.contains(connection.peer());
    out.offer_dsn = setup.lmtp.offer_dsn;
    return out;
}

std::string Service::session_name() {
    using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::system_clock;
    const auto now = duration_cast<microseconds>(system_clock::now().time_since_epoch());
    std::array<char, 48> name{};
    std::snprintf(name.data(), name.size(), "%llx.%x", static_cast<unsigned long long>(now.count()),
                  static_cast<unsigned>(++sessions_));
    return name.data();
}

std::string Service::redelivery_file() const {
    return std::string(setup()->instance->config().text("store.state")) + "/redelivery";
}

void Service::load_redelivery() {
    auto done = redelivery_.load(setup()->instance->files(), redelivery_file());
    if (!done) log(LogLevel::warning, done.error().text());
}

void Service::drop_redelivery_file() {
    auto done = setup()->instance->files().unlink({AT_FDCWD, {}}, redelivery_file());
    if (!done) log(LogLevel::warning, done.error().text());
}

void Service::save_redelivery() {
    auto done = redelivery_.save(setup()->instance->files(), redelivery_file());
    if (!done) log(LogLevel::warning, done.error().text());
}

}  // namespace roost
