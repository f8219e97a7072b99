#!/bin/sh
# run.sh: build and run all tests: gcc, clang, the release build (preset strict), AddressSanitizer with UndefinedBehaviorSanitizer, and
# ThreadSanitizer (thread tests only), all with warnings as errors.  Says which tests were skipped and why.  usage: tests/run.sh [PRESET ...]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
sh "$root/tests/packages.sh"
cd "$root"
[ $# -gt 0 ] || set -- debug clang strict asan tsan

jobs=$(nproc 2> /dev/null || echo 2)
passed=0
failed=0
failures=""
skips=$(mktemp)
trap 'rm -f "$skips"' EXIT
mkdir -p build
started=$(date +%s)

# Sanitizers of older compilers do not cope with the address randomisation of newer kernels; switch it off where that is allowed.
steady=""
if setarch "$(uname -m)" -R true 2> /dev/null; then
    steady="setarch $(uname -m) -R"
fi

for preset in "$@"; do
    echo "==== $preset ===="
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs"; } > "build/$preset.log" 2>&1; then
        tail -n 60 "build/$preset.log"
        echo "==== $preset: does not build"
        failed=$((failed + 1))
        failures="$failures $preset:build"
        continue
    fi
    log=build/$preset/run.log
    case $preset in
    asan | tsan) prefix=$steady ;;
    *) prefix="" ;;
    esac
    # shellcheck disable=SC2086 # the prefix is words
    $prefix ctest --preset "$preset" -j 2 2>&1 | tee "$log"
    # "97% tests passed, 1 tests failed out of 40"; "No tests were found!!!"
    counts=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
    if [ -z "$counts" ]; then
        failed=$((failed + 1))
        failures="$failures $preset:no-tests"
        continue
    fi
    failed=$((failed + ${counts% *}))
    passed=$((passed + ${counts#* } - ${counts% *}))
    for name in $(sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\) (.*/\1/p' "$log"); do
        failures="$failures $preset:$name"
    done
    details=build/$preset/Testing/Temporary/LastTest.log
    if [ -f "$details" ]; then
        sed -n -e "s/^\(test_[A-Za-z0-9_]*\).*\.\.\. skipped \(.*\)/$preset: \1: \2/p" \
            -e "s/^\[  SKIPPED \] \(.*\)/$preset: \1/p" "$details" | sort -u >> "$skips"
    fi
done

echo
echo "Skipped:"
if [ -s "$skips" ]; then sed 's/^/  /' "$skips"; else echo "  none"; fi
if [ ! -e /dev/nvidiactl ]; then
    echo "  GPU tests: this machine has no NVIDIA driver (no /dev/nvidiactl)"
fi
[ -z "$failures" ] || echo "Failed:$failures"
echo "Took $(($(date +%s) - started)) seconds."
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
