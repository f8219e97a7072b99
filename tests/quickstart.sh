#!/bin/sh
# quickstart.sh: from a bare machine to a tuned kernel: install packages, build, tune on this CPU, look the result up again.
# Works from any folder.  The result is kept in the user's cache, so that a second run finds it and measures nothing.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

sh "$root/tests/packages.sh"

cd "$root"
echo "Building ..."
log=$root/build/quickstart.log
mkdir -p "$root/build"
if ! { cmake --preset release && cmake --build --preset release --target hone_tool hone_pages; } > "$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "quickstart.sh: the build failed; the whole log is $log" >&2
    exit 1
fi

hone=$root/build/release/hone
spec=$root/tests/kernels/conv2d.json
# Not auto, although a model may be configured here: a first try should not spend anybody's tokens.
echo
echo "\$ hone tune tests/kernels/conv2d.json --search lfbo --max-time 25"
"$hone" tune "$spec" --search lfbo --max-time 25 "$@"
echo
echo "\$ hone lookup tests/kernels/conv2d.json"
"$hone" lookup "$spec"
echo
echo "The command is $hone; install it with: cmake --install build/release --prefix DIR"
