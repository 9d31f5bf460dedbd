// roost quota report: what another service of a user holds.
#include "base/text.h"
#include "commands.h"
#include "config/value.h"
#include "records.h"
#include "store/instance.h"

namespace roost::cli {
namespace {

struct Figures {
    std::optional<std::uint64_t> storage;
    std::optional<std::uint64_t> messages;
};

Error wrong(const std::string& operand) {
    return usage_error("command quota report", "'" + printable(operand) + "' is not understood",
                       "write storage=SIZE, as 512K or 10M, and messages=NUMBER");
}

Result<Figures> figures_of(std::span<const std::string> operands) {
    Figures out;
    for (const std::string& operand : operands) {
        const std::size_t equals = operand.find('=');
        if (equals == std::string::npos) return wrong(operand);
        const std::string key = operand.substr(0, equals);
        const std::string value = operand.substr(equals + 1);
        if (key != "storage" && key != "messages") return wrong(operand);
        auto number = key == "storage" ? parse_size(value) : parse_count(value);
        if (!number || !*number) return wrong(operand);
        (key == "storage" ? out.storage : out.messages) = **number;
    }
    return out;
}

Result<void> check_service(const Config& config, const std::string& service) {
    const auto services = parse_words(config.text("quota.unified.services"));
    if (service == config.text("quota.unified.name"))
        return usage_error("service " + printable(service), "the mail counts itself", "name another service");
    for (const std::string& known : services)
        if (known == service) return {};
    return usage_error("service " + printable(service), "it is not among quota.unified.services",
                       "add it there, or name one of: " + std::string(config.text("quota.unified.services")));
}

}  // namespace

Result<int> quota_report(const Options& options) {
    auto name = user_name(options.operands[0]);
    if (!name) return std::move(name).error();
    const std::string& service = options.operands[1];
    auto figures = figures_of(std::span(options.operands).subspan(2));
    if (!figures) return std::move(figures).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto instance = Instance::open(*std::move(config));
    if (!instance) return std::move(instance).error();
    if (auto known = check_service((*instance)->config(), service); !known) return std::move(known).error();
    auto record = need_user((*instance)->db(), *name);
    if (!record) return std::move(record).error();
    auto user = User::make((*instance)->config(), *std::move(record));
    if (!user) return std::move(user).error();
    auto done = (*instance)->accounts().report(*user, service, figures->storage, figures->messages);
    if (!done) return std::move(done).error();
    return kSuccess;
}

}  // namespace roost::cli
