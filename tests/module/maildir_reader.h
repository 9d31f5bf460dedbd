// Reads Maildir++.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>

#include "reader.h"

namespace roost::test {

class MaildirReader : public Reader {
public:
    std::vector<std::string> settings(const std::string& dir) const override {
        return {"maildir.path=" + dir + "/%{domain}/%{local}"};
    }
    std::vector<std::string> messages(const User& user, const Folder& folder) const override {
        std::vector<std::string> out;
        for (const char* name : {"new", "cur"})
            for (const auto& file : files_in(directory(user, folder) / name)) out.push_back(contents(file));
        return out;
    }
    bool has_folder(const User& user, const Folder& folder) const override {
        return std::filesystem::is_directory(directory(user, folder) / "cur");
    }
    void add(const User& user, const Folder& folder, const std::string& message) const override {
        std::ofstream(directory(user, folder) / "cur" / "1000000000.another.host:2,S", std::ios::binary) << message;
    }
    std::string as_stored(std::string message) const override { return message; }
    bool exists(const Settings& allocation) const override {
        return std::filesystem::exists(allocation.at("maildir.path"));
    }
    void take_away(const Settings& allocation) const override {
        const std::string& path = allocation.at("maildir.path");
        std::filesystem::rename(path, path + ".away");
    }
    std::vector<std::string> leftovers(const User& user) const override {
        std::vector<std::string> out;
        const std::filesystem::path root = *user.allocated("maildir.path");
        for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
            if (entry.path().parent_path().filename() == "tmp") out.push_back(entry.path());
        return out;
    }

    // Folders in ASCII alone.
    static std::filesystem::path directory(const User& user, const Folder& folder) {
        std::filesystem::path root = *user.allocated("maildir.path");
        if (folder.empty()) return root;
        std::string name;
        for (const std::string& component : folder) name += "." + component;
        return root / name;
    }
    static std::vector<std::filesystem::path> files_in(const std::filesystem::path& dir) {
        std::vector<std::filesystem::path> out;
        if (!std::filesystem::is_directory(dir)) return out;
        for (const auto& entry : std::filesystem::directory_iterator(dir)) out.push_back(entry.path());
        return out;
    }
    static std::string contents(const std::filesystem::path& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
};

// The directory of a user's mailbox.
inline std::filesystem::path root_of(const User& user) { return *user.allocated("maildir.path"); }

}  // namespace roost::test
