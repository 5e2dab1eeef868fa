// The barrier between the steps of threads that share one sequence.
//
// It spins, since a step takes microseconds, and after some 100 µs it sleeps: waking up costs tens of
// microseconds, but on a machine with more work than cores a thread that only yields waits for whole
// time slices of others, at every step (measured at T = 100, B = 1, H = 64 beside five busy
// processes: 18 ms with yields, 0.1 ms asleep).
#pragma once
#include <atomic>
#include <climits>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace gatewise {
namespace GATEWISE_ISA {

// Every thread counts its own arrivals and looks at those of the others: news of an arrival costs one
// transfer of a cache line, against two through a common counter.
class Barrier {
 public:
  explicit Barrier(int threads) : arrivals_(threads) {}

  void wait(int thread, int team) {
    if (team == 1) return;
    const uint32_t turn = arrivals_[thread].count.load(std::memory_order_relaxed) + 1;
    arrivals_[thread].count.store(turn, std::memory_order_seq_cst);
    wake(arrivals_[thread].count);
    for (int other = 0; other < team; ++other)
      if (other != thread) await(arrivals_[other].count, turn);
  }

 private:
  using Count = std::atomic<uint32_t>;
  struct alignas(64) Arrivals {
    Count count{0};
  };

  // Others may be a turn ahead, never two. Differences, since the counts may wrap around.
  static bool reached(uint32_t count, uint32_t turn) { return int32_t(count - turn) >= 0; }

  void await(Count& count, uint32_t turn) {
    for (int spins = 0; spins < 4000; ++spins) {
      if (reached(count.load(std::memory_order_acquire), turn)) return;
      pause();
    }
    // Counted before the last look, so that whoever arrives then sees a sleeper to wake.
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    for (uint32_t seen; !reached(seen = count.load(std::memory_order_seq_cst), turn);)
      sleep(count, seen);
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

#if defined(__linux__)
  void wake(Count& count) {
    if (sleeping_.load(std::memory_order_seq_cst))
      syscall(SYS_futex, &count, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
  void sleep(Count& count, uint32_t seen) {
    syscall(SYS_futex, &count, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
  }
#else
  void wake(Count&) {}
  void sleep(Count&, uint32_t) { std::this_thread::yield(); }
#endif

  std::vector<Arrivals> arrivals_;
  alignas(64) std::atomic<int> sleeping_{0};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
