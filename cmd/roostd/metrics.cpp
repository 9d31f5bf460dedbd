#include "metrics.h"

#include <prometheus/text_serializer.h>

#include <utility>
#include <vector>

namespace roost {
namespace {

// Seconds. Syncs of a good disk take less than the first, and of a bad day more than a second.
const prometheus::Histogram::BucketBoundaries kLatencies{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                         0.25,  0.5,    1,     2.5,  5,     10,   30};

double seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
prometheus::Counter* counter(prometheus::Registry& registry, const char* name, const char* help) {
    return &counters(registry, name, help).Add({});
}

prometheus::MetricFamily counted(const char* name, const char* help, std::uint64_t value) {
    prometheus::ClientMetric metric;
    metric.counter.value = static_cast<double>(value);
    return {name, help, prometheus::MetricType::Counter, {metric}};
}

}  // namespace

SyncFigures SyncFigures::of(const SyncStats& stats, std::uint64_t failures) {
    return {stats.groups.load(std::memory_order_relaxed), stats.members.load(std::memory_order_relaxed),
            stats.syncs.load(std::memory_order_relaxed), failures};
}

Metrics::Metrics(std::function<SyncFigures()> syncs) : syncs_(std::move(syncs)) {
    prometheus::Registry& all = registry_;
    auto& deliveries =
        counters(all, "roost_deliveries_total", "Recipients that got a verdict, one for each line in the log.");
    for (std::size_t i = 0; i < kOutcomes; ++i)
        deliveries_.at(i) = &deliveries.Add({{"outcome", std::string(row_of(static_cast<Outcome>(i)).name)}});
    bytes_ = counter(all, "roost_delivered_bytes_total", "Bytes stored, as the mailboxes count them.");
    redeliveries_ = counter(all, "roost_redeliveries_total",
                            "Recipients' second copies, answered as delivered and not stored again.");
    auto& runs = counters(all, "roost_creator_runs_total", "First deliveries, each of which has a mailbox made.");
    made_ = &runs.Add({{"result", "made"}});
    not_made_ = &runs.Add({{"result", "failed"}});
    auto& phases =
        counters(all, "roost_delivery_phase_seconds_total", "Where the time of deliveries went, summed by recipients.");
    lookup_ = &phases.Add({{"phase", "lookup"}});
    store_ = &phases.Add({{"phase", "store"}});
    sync_ = &phases.Add({{"phase", "sync"}});
    sessions_ = counter(all, "roost_sessions_total", "LMTP sessions that began.");
    open_sessions_ = &prometheus::BuildGauge()
                          .Name("roost_sessions_open")
                          .Help("LMTP sessions that there are now.")
                          .Register(all)
                          .Add({});
    refused_ = counter(all, "roost_refused_connections_total",
                       "Connections beyond lmtp.max-connections or policy.max-connections.");
    latency_ = &prometheus::BuildHistogram()
                    .Name("roost_delivery_duration_seconds")
                    .Help("From the end of a message to the verdicts for all its recipients.")
                    .Register(all)
                    .Add({}, kLatencies);
}

void Metrics::verdict(const Verdict& verdict) {
    deliveries_[static_cast<std::size_t>(verdict.outcome)]->Increment();
    if (verdict.again) return;
    if (verdict.outcome == Outcome::delivered) bytes_->Increment(static_cast<double>(verdict.receipt.stored));
    if (verdict.created) made_->Increment();
    if (verdict.creation_failed) not_made_->Increment();
    lookup_->Increment(seconds(verdict.spent.lookup));
    store_->Increment(seconds(verdict.spent.store));
    sync_->Increment(seconds(verdict.spent.sync));
}

void Metrics::message(std::chrono::steady_clock::duration time) { latency_->Observe(seconds(time)); }

std::string Metrics::text() const {
    std::vector<prometheus::MetricFamily> all = registry_.Collect();
    const SyncFigures syncs = syncs_();
    all.push_back(
        counted("roost_sync_groups_total", "Groups of deliveries that were made safe together.", syncs.groups));
    all.push_back(counted("roost_sync_members_total", "Deliveries in these groups.", syncs.members));
    all.push_back(counted("roost_syncs_total", "System calls that waited for a disk.", syncs.syncs));
    all.push_back(
        counted("roost_sync_failures_total", "Syncs that failed, of directories and by modules too.", syncs.failures));
    return prometheus::TextSerializer().Serialize(all);
}

}  // namespace roost
