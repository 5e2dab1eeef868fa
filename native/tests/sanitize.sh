#!/bin/sh
# Runs the C++ tests under the address, undefined-behaviour and thread sanitizers; any report fails.
# Arguments choose sanitizers: sanitize.sh address thread
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
# GCC before 14 puts vectors of 64 bytes on an unaligned stack when it looks for uses after return.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0:strict_init_order=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
# With -O2 the checks between thousands of unrolled operations take GCC many minutes.
export OPTIMIZE=-O1
for sanitizer in ${*:-address undefined thread}; do
  echo "== $sanitizer sanitizer"
  export BUILD="$root/build/sanitize-$sanitizer"
  export CXXFLAGS="-fsanitize=$sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer -g1"
  # Random addresses may fall where the thread sanitizer keeps its own memory.
  run=
  if [ "$sanitizer" = thread ] && setarch -R true 2>/dev/null; then run="setarch -R"; fi
  $run "$here/run.sh" --quick
done
echo "sanitizers: no reports"
