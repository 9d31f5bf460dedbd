// Reads mbox files in the mboxrd form.
#pragma once

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "reader.h"

namespace roost::test {

class MboxReader : public Reader {
public:
    std::vector<std::string> settings(const std::string& dir) const override {
        return {"mbox.path=" + dir + "/%{domain}/%{local}/inbox",
                "mbox.folders=" + dir + "/%{domain}/%{local}/folders"};
    }
    std::vector<std::string> messages(const User& user, const Folder& folder) const override {
        return split(contents(file(user, folder)));
    }
    bool has_folder(const User& user, const Folder& folder) const override {
        return std::filesystem::is_regular_file(file(user, folder));
    }
    void add(const User& user, const Folder& folder, const std::string& message) const override {
        std::ofstream(file(user, folder), std::ios::binary | std::ios::app)
            << "From another@example.org Sat Jan  1 00:00:00 2022\n"
            << message << '\n';
    }
    // A message ends with a newline; all else comes back as it was.
    std::string as_stored(std::string message) const override {
        if (!message.empty() && message.back() != '\n') message += '\n';
        return message;
    }
    bool exists(const Settings& allocation) const override {
        return std::filesystem::exists(allocation.at("mbox.path")) ||
               std::filesystem::exists(allocation.at("mbox.folders"));
    }
    void take_away(const Settings& allocation) const override {
        const std::filesystem::path dir = std::filesystem::path(allocation.at("mbox.path")).parent_path();
        std::filesystem::rename(dir, dir.string() + ".away");
    }
    std::vector<std::string> leftovers(const User& user) const override {
        std::vector<std::string> out;
        const auto dir = std::filesystem::path(*user.allocated("mbox.path")).parent_path();
        for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
            const std::string name = entry.path().filename();
            const bool helper = name.starts_with('.') || name.ends_with(".lock");
            if (helper && !name.ends_with(".books")) out.push_back(entry.path());
        }
        return out;
    }

    // Folders in ASCII alone.
    static std::filesystem::path file(const User& user, const Folder& folder) {
        if (folder.empty()) return *user.allocated("mbox.path");
        std::filesystem::path path = *user.allocated("mbox.folders");
        for (const std::string& component : folder) path /= component;
        return path / "messages.mbox";
    }
    static std::string contents(const std::filesystem::path& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    // Takes the quoting off. What is not exactly mboxrd is an exception.
    static std::vector<std::string> split(const std::string& text) {
        std::vector<std::string> out;
        for (std::size_t at = 0; at < text.size();) {
            if (text.compare(at, 5, "From ") != 0) throw std::runtime_error("torn mbox: no From_ line");
            at = text.find('\n', at) + 1;
            std::string message;
            while (at < text.size() && text.compare(at, 5, "From ") != 0) {
                const std::size_t end = text.find('\n', at);
                if (at == 0 || end == std::string::npos) throw std::runtime_error("torn mbox: no line end");
                const std::size_t quotes = text.find_first_not_of('>', at) - at;
                const bool quoted = quotes > 0 && text.compare(at + quotes, 5, "From ") == 0;
                message.append(text, at + (quoted ? 1 : 0), end + 1 - at - (quoted ? 1 : 0));
                at = end + 1;
            }
            if (message.empty() || message.back() != '\n' ||
                (message.size() > 1 && message[message.size() - 2] != '\n'))
                throw std::runtime_error("torn mbox: no empty line behind a message");
            message.pop_back();
            out.push_back(std::move(message));
        }
        return out;
    }
};

}  // namespace roost::test
