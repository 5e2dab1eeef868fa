#include "workspace.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace gatewise {

namespace {

struct Kept {
  std::mutex mutex;
  std::vector<WorkspaceBlock> blocks;  // most recently returned last
  std::size_t bytes = 0;
};

// Never destroyed: threads may still return blocks while the process ends.
Kept& kept() {
  static Kept* kept = new Kept;
  return *kept;
}

WorkspaceBlock allocate(std::size_t bytes) {
  constexpr std::size_t huge = std::size_t(1) << 21;
  const std::size_t alignment = bytes >= huge ? huge : 64;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, bytes ? bytes : alignment);
#if defined(__linux__)
  if (data && alignment == huge) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return {data, data ? bytes : 0};
}

}  // namespace

// The lock is only tried: another thread that holds it at the moment of a fork would hold it for ever
// in the child, and a missed block costs no more than an allocation.
WorkspaceBlock take_workspace(std::size_t bytes) {
  std::unique_lock<std::mutex> lock(kept().mutex, std::try_to_lock);
  if (lock) {
    auto& blocks = kept().blocks;
    for (auto it = blocks.rbegin(); it != blocks.rend(); ++it)
      if (it->bytes >= bytes && it->bytes / 2 <= bytes) {
        const WorkspaceBlock found = *it;
        blocks.erase(std::next(it).base());
        kept().bytes -= found.bytes;
        return found;
      }
  }
  return allocate(bytes);
}

void return_workspace(WorkspaceBlock block) {
  if (!block.data) return;
  std::unique_lock<std::mutex> lock(kept().mutex, std::try_to_lock);
  if (lock && block.bytes <= workspace_limit) {
    auto& blocks = kept().blocks;
    try {
      blocks.push_back(block);
      kept().bytes += block.bytes;
    } catch (...) {
      std::free(block.data);
      return;
    }
    while (kept().bytes > workspace_limit) {  // the longest unused goes first
      kept().bytes -= blocks.front().bytes;
      std::free(blocks.front().data);
      blocks.erase(blocks.begin());
    }
    return;
  }
  std::free(block.data);
}

}  // namespace gatewise
