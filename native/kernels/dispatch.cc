// Chooses among the instruction sets of this build by what the machine can run.
#include <cstring>
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "../gatewise.h"

namespace gatewise {

#if defined(__x86_64__)
namespace amx { extern const Kernels kernels; }
namespace avx512_bf16 { extern const Kernels kernels; }
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

#if defined(__x86_64__)
// Whether the system lets this process use tile registers: Linux wants to be asked once, for the sake of
// programs with too little room for them on their signal stacks.
bool has_tiles() {
#if defined(__linux__)
  constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
                              syscall(SYS_arch_prctl, request, tile_data) == 0;
  return granted;
#else
  return false;
#endif
}
#endif

// The first that runs here and has the precision, from the set `isa` on or, with null, of all; best
// first.
const Kernels* find(const char* isa, Dtype dtype) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool v4_bf16 = v4 && __builtin_cpu_supports("avx512bf16");
  const Candidate candidates[] = {{&amx::kernels, v4_bf16 && has_tiles()},
                                  {&avx512_bf16::kernels, v4_bf16},
                                  {&avx512::kernels, v4},
                                  {&avx2::kernels, v3},
                                  {&scalar::kernels, true}};
#elif defined(__aarch64__)
  const Candidate candidates[] = {{&neon::kernels, true}, {&scalar::kernels, true}};
#else
  const Candidate candidates[] = {{&scalar::kernels, true}};
#endif
  bool found = isa == nullptr;
  for (const Candidate& candidate : candidates) {
    if (!found && std::strcmp(candidate.kernels->isa, isa) == 0) {
      if (!candidate.runs) return nullptr;
      found = true;
    }
    const Kernels& kernels = *candidate.kernels;
    const bool has = dtype == Dtype::bfloat16         ? kernels.bf16
                     : dtype == Dtype::float32_bf16x6 ? kernels.bf16x6
                                                      : kernels.full;
    if (found && candidate.runs && has) return &kernels;
  }
  return nullptr;
}

}  // namespace

const Kernels* kernels_for(const char* isa, Dtype dtype) { return find(isa, dtype); }

const Kernels* best_kernels(Dtype dtype) { return find(nullptr, dtype); }

}  // namespace gatewise
