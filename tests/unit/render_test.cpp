#include "config/render.h"

#include "base/files.h"
#include "catch.h"
#include "config/config.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace {

using roost::ConfigFile;
using roost::Kind;
using roost::Level;
using roost::NamedTable;
using roost::Setting;

constexpr Setting kOdd[] = {
    {"odd.back\\slash", Kind::text, "a\\b \"c\"", Level::file, ".TH is no macro here. 'tis text. A path is C:\\x."},
    {"odd.No", Kind::text, "No", Level::plan, "Plain."},
    {"odd.words", Kind::choice, "one", Level::user, "Choose.", "one two three"},
    {"odd.empty", Kind::text, "", Level::domain, "Nothing."},
};

std::vector<NamedTable> tables() { return {{"", roost::core_settings()}, {"MDA module odd: it is odd", kOdd}}; }

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

// A private file with `text`, gone at the end.
class TempConf {
public:
    explicit TempConf(const std::string& text) {
        const int fd = ::mkstemp(path_.data());
        REQUIRE(fd >= 0);
        ::close(fd);
        std::ofstream(path_) << text;
    }
    ~TempConf() { ::unlink(path_.c_str()); }
    TempConf(const TempConf&) = delete;
    TempConf& operator=(const TempConf&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_ = "render-test-XXXXXX";
};

}  // namespace

TEST_CASE("The sample file reads back as an empty configuration") {
    const TempConf conf(roost::render_sample(tables()));
    const auto file = ConfigFile::read(conf.path(), {});
    REQUIRE(file);
    CHECK(file->entries().empty());
}

TEST_CASE("The sample file with its settings uncommented holds every setting at its default") {
    std::string text;
    for (const std::string& line : lines_of(roost::render_sample(tables()))) {
        const bool setting = line.size() > 1 && line[0] == '#' && line[1] != ' ';
        text += (setting ? line.substr(1) : line) + '\n';
    }
    const TempConf conf(text);
    const auto file = ConfigFile::read(conf.path(), {});
    REQUIRE(file);
    std::size_t settings = 0;
    for (const NamedTable& table : tables()) {
        for (const Setting& row : table.settings) {
            ++settings;
            INFO(row.key);
            const auto* entry = file->find(row.key);
            REQUIRE(entry != nullptr);
            CHECK(entry->value == row.default_value);
        }
    }
    CHECK(file->entries().size() == settings);
}

TEST_CASE("No line of the sample file is wider than 80 columns, save for a long value") {
    for (const std::string& line : lines_of(roost::render_sample(tables()))) {
        INFO(line);
        CHECK((line.size() <= 80 || line[1] != ' '));
    }
}

TEST_CASE("The sample file tells where else a setting can be given") {
    const std::string sample = roost::render_sample(tables());
    CHECK(sample.find("# (one|two|three) Also for a plan, a domain or a user.\n#words = one\n") != std::string::npos);
    CHECK(sample.find("Also for a plan or a domain.\n#empty =\n") != std::string::npos);
    CHECK(sample.find("Also for a plan.\n#No = No\n") != std::string::npos);
}

TEST_CASE("The manual takes no text of a table for markup") {
    const std::string manual = roost::render_manual(tables());
    for (const std::string& line : lines_of(manual)) {
        INFO(line);
        CHECK(line[0] != '\'');
        if (line[0] == '.') {
            const auto macro = line.substr(1, 2);
            CHECK((macro == "Ss" || macro == "Bl" || macro == "It" || macro == "El" || macro == "Ql"));
        }
    }
    CHECK(manual.find("\n.It Cm back\\eslash No = Ar ") != std::string::npos);
    CHECK(manual.find("\n\\&.TH is no macro here.\n\\&'tis text.\nA path is C:\\ex.\n") != std::string::npos);
    CHECK(manual.find("\n.Ql \"a\\eb \\(dqc\\(dq\" .\n") != std::string::npos);
    CHECK(manual.find("\n.It Cm \\&No No = Ar ") != std::string::npos);
}

TEST_CASE("The manual says kind, default and narrowest level of every setting") {
    const std::string manual = roost::render_manual(tables());
    CHECK(manual.find(
              ".It Cm words No = Cm one | two | three\nChoose.\nDefault:\n.Ql \\&one .\nLevels: file to user.\n") !=
          std::string::npos);
    CHECK(manual.find("Nothing.\nDefault: empty.\nLevels: file to domain.\n") != std::string::npos);
    CHECK(manual.find(".Ss [quota]\\&\n.Bl -tag -width Ds\n.It Cm storage No = Ar size\n") != std::string::npos);
    CHECK(manual.find(".Ss [odd]\\&\nMDA module odd: it is odd.\n.Bl -tag -width Ds\n") != std::string::npos);
}
