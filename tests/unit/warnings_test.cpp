#include "quota/warnings.h"

#include "catch.h"
#include "config/setting.h"

#include <string>
#include <vector>

using namespace roost;

namespace {

Limits limits(std::optional<std::uint64_t> storage, std::optional<std::uint64_t> messages = {}) {
    Limits out;
    out.storage = storage;
    out.messages = messages;
    return out;
}

// Goes through the usages one after the other, and says what each of them made due.
std::vector<std::string> walk(const std::string& thresholds, const Limits& limits, const std::vector<Usage>& usages) {
    std::vector<std::string> out;
    Reached reached;
    for (const Usage& used : usages) {
        const Judged judged = judge_thresholds("a", *parse_thresholds(thresholds), limits, used, reached);
        reached = parse_told(render_told({judged.reached, judged.reached})).by_message;
        CHECK(reached == judged.reached);
        std::string due;
        for (const Warning& each : judged.due) due += (due.empty() ? "" : " ") + each.threshold.text();
        out.push_back(due);
    }
    return out;
}

std::vector<std::string> storage(const std::string& thresholds, const std::vector<std::uint64_t>& shares) {
    std::vector<Usage> usages;
    for (const std::uint64_t share : shares) usages.push_back({share * 10, 0});
    return walk(thresholds, limits(1000), usages);
}

using Due = std::vector<std::string>;

}  // namespace

TEST_CASE("warnings: thresholds are read and written") {
    const auto read = *parse_thresholds(" storage>80%  messages<5% storage>100%");
    REQUIRE(read.size() == 3);
    CHECK(read[0].text() == "storage>80%");
    CHECK(read[1].text() == "messages<5%");
    CHECK(parse_thresholds("")->empty());
    for (const char* bad :
         {"storage", "storage>", "storage>80", "storage>%", "storage>80%%", "storage>x%", "disk>80%", "storage=80%",
          "storage>0%", "storage>-1%", "storage>1001%", ">80%", "storage>>80%", "storage>80%,messages>80%"})
        CHECK_FALSE(parse_thresholds(bad));
}

TEST_CASE("warnings: a rising threshold is due once, until usage was below it again") {
    CHECK(storage("storage>80%", {0, 79, 80, 81, 99, 100}) == Due{"", "", "storage>80%", "", "", ""});
    CHECK(storage("storage>80%", {80, 79, 80, 80}) == Due{"storage>80%", "", "storage>80%", ""});
    CHECK(storage("storage>80%", {100}) == Due{"storage>80%"});
}

TEST_CASE("warnings: a falling threshold is due once usage is below what it was at") {
    CHECK(storage("storage<80%", {0, 79, 80, 95, 79, 70}) == Due{"", "", "", "", "storage<80%", ""});
    CHECK(storage("storage<80% storage<50%", {90, 10}) == Due{"", "storage<50%"});
    CHECK(storage("storage<80% storage<50%", {90, 60, 10}) == Due{"", "storage<80%", "storage<50%"});
}

TEST_CASE("warnings: of several the one that tells most is due, and the others count as said") {
    CHECK(storage("storage>80% storage>95% storage>90%", {96, 96, 85, 91, 96}) ==
          Due{"storage>95%", "", "", "storage>90%", "storage>95%"});
    CHECK(storage("storage>80% storage>95%", {81, 96}) == Due{"storage>80%", "storage>95%"});
}

TEST_CASE("warnings: both ways with the same share") {
    CHECK(storage("storage>80% storage<80%", {80, 79, 80}) == Due{"storage>80%", "storage<80%", "storage>80%"});
}

TEST_CASE("warnings: storage and messages are told apart") {
    const auto both = [](const std::vector<Usage>& usages) {
        return walk("storage>80% messages>50%", limits(1000, 10), usages);
    };
    CHECK(both({{800, 0}, {800, 5}}) == Due{"storage>80%", "messages>50%"});
    CHECK(both({{800, 5}}) == Due{"storage>80% messages>50%"});
}

TEST_CASE("warnings: what moved the limit is noticed like what moved the usage") {
    const auto thresholds = *parse_thresholds("storage>80% storage<80%");
    const Usage used{500, 0};
    Judged judged = judge_thresholds("a", thresholds, limits(1000), used, {});
    CHECK(judged.due.empty());
    judged = judge_thresholds("a", thresholds, limits(600), used, judged.reached);
    REQUIRE(judged.due.size() == 1);
    CHECK(judged.due[0].threshold.text() == "storage>80%");
    CHECK(judged.due[0].percent() == 83);
    judged = judge_thresholds("a", thresholds, limits(1000), used, judged.reached);
    REQUIRE(judged.due.size() == 1);
    CHECK(judged.due[0].threshold.text() == "storage<80%");
    CHECK(judged.reached.empty());
}

TEST_CASE("warnings: without a limit there is nothing to reach, and nothing to say of one that was lifted") {
    const auto thresholds = *parse_thresholds("storage>1% storage<1% messages>1%");
    const Judged first = judge_thresholds("a", thresholds, limits(100), {100, 100}, {});
    CHECK(first.reached.size() == 2);
    const Judged lifted = judge_thresholds("a", thresholds, limits({}), {100, 100}, first.reached);
    CHECK(lifted.due.empty());
    CHECK(lifted.reached.empty());
}

TEST_CASE("warnings: a limit of 0 is reached at once, and numbers of any size are compared") {
    CHECK(walk("storage>80%", limits(0), {{0, 0}}) == Due{"storage>80%"});
    CHECK(walk("storage>80%", limits(UINT64_MAX), {{UINT64_MAX / 2, 0}, {UINT64_MAX, 0}}) == Due{"", "storage>80%"});
    CHECK(walk("storage>80%", limits(1), {{UINT64_MAX, 0}}) == Due{"storage>80%"});
}

TEST_CASE("warnings: a threshold that is no longer asked for is forgotten") {
    const Judged judged = judge_thresholds("a", *parse_thresholds("storage>80%"), limits(100), {90, 0},
                                           parse_told("storage>50% storage>80%\n").by_message);
    CHECK(judged.due.empty());
    CHECK(render_told({judged.reached, judged.reached}) == "storage>80%\n");
    CHECK(parse_told("nonsense").empty());
}

TEST_CASE("warnings: what messages and commands told is kept apart where it differs") {
    const Reached some{{false, true, 80}, {true, false, 50}};
    const std::vector<std::pair<Told, std::string>> rows{
        {{some, some}, "storage>80% messages<50%\n"},
        {{some, {}}, "storage>80% messages<50%\n\n"},
        {{{}, some}, "\nstorage>80% messages<50%\n"},
        {{{}, {}}, "\n"},
    };
    for (const auto& [told, text] : rows) {
        CHECK(render_told(told) == text);
        CHECK(parse_told(text) == told);
    }
    CHECK(parse_told("") == Told{});
    CHECK(parse_told("storage>80%").by_command == Reached{{false, true, 80}});
}

TEST_CASE("warnings: one that could not be given is due again, with all that it spoke for") {
    const auto thresholds = *parse_thresholds("storage>80% storage>95% storage<80% storage<50%");
    const auto judge = [&](std::uint64_t used, const Reached& before) {
        return judge_thresholds("a", thresholds, limits(100), {used, 0}, before);
    };
    Judged judged = judge(96, {});
    REQUIRE(judged.due.size() == 1);
    Reached taken = judged.reached;
    take_back(taken, judged.due[0].crossed);
    REQUIRE(judge(97, taken).due.size() == 1);
    CHECK(judge(97, taken).due[0].threshold.text() == "storage>95%");
    CHECK(judge(90, taken).due[0].threshold.text() == "storage>80%");
    CHECK(judge(60, judge(96, {}).reached).due[0].threshold.text() == "storage<80%");

    judged = judge(10, judged.reached);
    REQUIRE(judged.due.size() == 1);
    CHECK(judged.due[0].threshold.text() == "storage<50%");
    taken = judged.reached;
    take_back(taken, judged.due[0].crossed);
    CHECK(judge(20, taken).due[0].threshold.text() == "storage<50%");
    CHECK(judge(60, taken).due[0].threshold.text() == "storage<80%");
}

TEST_CASE("warnings: what is put into a text") {
    const Warning storage{"alice@example.org", {false, true, 80}, 900 * 1024, 1024 * 1024};
    CHECK(*expand_warning("%{user} %{percent}%% of %{threshold} %{kind} %{used} %{limit} %{date}", storage, "now") ==
          "alice@example.org 87% of 80 storage 900.0K 1.0M now");
    const Warning messages{"a", {true, true, 80}, 9, 10};
    CHECK(*expand_warning("%{kind} %{used}/%{limit}", messages, "") == "messages 9/10");
    for (const char* bad : {"%", "50% x", "%{nosuch}", "%{user"}) CHECK_FALSE(expand_warning(bad, messages, ""));
    // What the setting takes is what can be put in.
    const auto names = parse_words(Schema().find("quota.warning-command")->choices);
    CHECK(names.size() == 7);
    for (const std::string& name : names) CHECK(expand_warning("%{" + name + "}", messages, "now"));
}
