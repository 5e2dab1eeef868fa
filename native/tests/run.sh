#!/bin/sh
# Builds the C++ tests under build/native-tests and runs them. Arguments go to every program
# (--quick); CMAKE, JOBS, BUILD, CXXFLAGS and OPTIMIZE (-O3) can be set.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
build=${BUILD:-$root/build/native-tests}
PATH=$PATH:$root/.venv/bin
generator=
command -v ninja >/dev/null && generator=-GNinja
# shellcheck disable=SC2086 # two words or none
"${CMAKE:-cmake}" -S "$root" -B "$build" $generator -DGATEWISE_TESTS=ON \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS="${CXXFLAGS:-}" \
  -DGATEWISE_OPTIMIZE="${OPTIMIZE:--O3}" >/dev/null
"${CMAKE:-cmake}" --build "$build" -j "${JOBS:-2}"
# Fresh memory holds huge numbers instead of zeros, so that reading it before writing shows.
export MALLOC_PERTURB_=128 MALLOC_MMAP_THRESHOLD_=33554432
failed=0
for test in contract sabotage masks math layers options threads; do
  "$build/native/tests/test_$test" "$@" || { failed=1; echo "test_$test: FAILED"; }
done
exit $failed
