// What roostd counts, for Prometheus.
#pragma once

#include "base/outcome.h"
#include "store/durability.h"
#include "store/mail_store.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace roost {

// A reading of SyncStats.
struct SyncFigures {
    std::uint64_t groups = 0;
    std::uint64_t members = 0;
    std::uint64_t syncs = 0;
    std::uint64_t failures = 0;
    static SyncFigures of(const SyncStats& stats, std::uint64_t failures);
};

// Counters, each found once and for all: counting adds to a few atomic numbers. They are described in roostd(8). Any
// thread.
class Metrics {
public:
    // `syncs` reads what the durability in force has counted itself, whenever somebody asks.
    explicit Metrics(std::function<SyncFigures()> syncs);

    // An open session, counted until it is destroyed.
    class Session {
    public:
        explicit Session(Metrics& metrics) : metrics_(metrics) {
            metrics_.sessions_->Increment();
            metrics_.open_sessions_->Increment();
        }
        ~Session() { metrics_.open_sessions_->Decrement(); }
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;

    private:
        Metrics& metrics_;
    };

    // A connection was turned away.
    void refused() { refused_->Increment(); }
    // A recipient got this verdict.
    void verdict(const Verdict& verdict);
    // A second copy was answered from memory; beside its verdict.
    void redelivery() { redeliveries_->Increment(); }
    // All verdicts of a message were there that long after its last byte.
    void message(std::chrono::steady_clock::duration time);

    // All figures in Prometheus' text format.
    std::string text() const;

private:
    std::function<SyncFigures()> syncs_;
    prometheus::Registry registry_;
    std::array<prometheus::Counter*, kOutcomes> deliveries_{};  // by Outcome
    prometheus::Counter* bytes_;
    prometheus::Counter* redeliveries_;
    prometheus::Counter* made_;
    prometheus::Counter* not_made_;
    prometheus::Counter* lookup_;
    prometheus::Counter* store_;
    prometheus::Counter* sync_;
    prometheus::Counter* sessions_;
    prometheus::Counter* refused_;
    prometheus::Gauge* open_sessions_;
    prometheus::Histogram* latency_;
};

}  // namespace roost
