// Memory that calls borrow for packed weights and scratch.
//
// Fresh memory costs a page fault for every 4 kB, up to a tenth of a training step (measured at
// H = 128); large panels on small pages cost as much again in misses of the address cache (H = 650:
// 58 against 67 % of the peak). So blocks come on huge pages where the system grants them, and up to
// workspace_limit bytes are kept for the next call.
#pragma once
#include <cstddef>

namespace gatewise {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t workspace_limit = 0;  // kept blocks would hide overruns
#else
constexpr std::size_t workspace_limit = std::size_t(256) << 20;
#endif

struct WorkspaceBlock {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// A block of at least `bytes`, aligned to 64 bytes, uninitialised; data is null if there is none.
WorkspaceBlock take_workspace(std::size_t bytes);

// Gives a block back; an empty one is ignored.
void return_workspace(WorkspaceBlock block);

}  // namespace gatewise
