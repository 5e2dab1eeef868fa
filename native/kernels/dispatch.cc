// Chooses among the instruction sets of this build by what the machine can run.
#include <cstring>

#include "../gatewise.h"

namespace gatewise {

#if defined(__x86_64__)
namespace avx512 { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
#elif defined(__aarch64__)
namespace neon { extern const Kernels kernels; }
#endif
namespace scalar { extern const Kernels kernels; }

namespace {

struct Candidate {
  const Kernels* kernels;
  bool runs;
};

// Best first.
template <typename F>
const Kernels* find(F&& accept) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Candidate candidates[] = {
      {&avx512::kernels, v4}, {&avx2::kernels, v3}, {&scalar::kernels, true}};
#elif defined(__aarch64__)
  const Candidate candidates[] = {{&neon::kernels, true}, {&scalar::kernels, true}};
#else
  const Candidate candidates[] = {{&scalar::kernels, true}};
#endif
  for (const Candidate& candidate : candidates)
    if (candidate.runs && accept(*candidate.kernels)) return candidate.kernels;
  return nullptr;
}

}  // namespace

const Kernels* kernels_for(const char* isa) {
  return find([&](const Kernels& k) { return std::strcmp(k.isa, isa) == 0; });
}

const Kernels* best_kernels() {
  return find([](const Kernels&) { return true; });
}

}  // namespace gatewise
