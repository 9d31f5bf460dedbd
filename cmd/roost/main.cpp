// roost: administration. See roost(8).
#include <exception>
#include <iostream>

#include "command_line.h"
#include "complete.h"
#include "output.h"

namespace {

using namespace roost::cli;

int run(const std::vector<std::string>& arguments) {
    // For the completion script: see complete.h. The words that follow are not roost's own arguments.
    if (!arguments.empty() && arguments.front() == "--complete") {
        for (const std::string& word : complete({arguments.begin() + 1, arguments.end()})) std::cout << word << '\n';
        return kSuccess;
    }
    auto invocation = parse_command_line(arguments);
    if (!invocation) {
        print_error(invocation.error());
        return status_of(invocation.error());
    }
    if (invocation->command == nullptr) {
        std::cout << invocation->text;
        return kSuccess;
    }
    auto status = invocation->command->run(invocation->options);
    if (status) return *status;
    print_error(status.error());
    return status_of(status.error());
}

}  // namespace

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    try {
        const int status = run({argv + 1, argv + argc});
        std::cout.flush();
        if (std::cout) return status;
        std::cerr << "roost: standard output: it cannot be written\n";
    } catch (const std::exception& e) {  // out of memory, or a fault of ours
        std::cerr << "roost: " << e.what() << ": this is a fault in the program\n";
    }
    return kFailure;
}
