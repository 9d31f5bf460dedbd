#include "base/nearest.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kLongestWord = 100;  // the work grows with the square; nobody mistypes more

// The Damerau-Levenshtein distance in its "optimal string alignment" form, with three rows of the table.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return above[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    if (word.size() > kLongestWord) return {};
    const std::string typed = lower(word);
    std::string_view best;
    std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        const std::size_t changes = distance(typed, lower(candidate));
        // As many changes as letters: everything was replaced, so the words have nothing to do with each other.
        if (changes >= least || changes >= std::max(typed.size(), candidate.size())) continue;
        least = changes;
        best = candidate;
    }
    return best;
}

}  // namespace roost
