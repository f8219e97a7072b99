#!/bin/sh
# packages.sh: install what Hone needs to be built and tested, on Debian 12 and later and Ubuntu 24.04 and later.  Does nothing, and needs
# neither network nor root, when all of it is there already.
set -eu

packages="gcc g++ clang cmake ninja-build pkg-config libc6-dev liblmdb-dev libcjson-dev libxxhash-dev libcurl4-openssl-dev libssl-dev zlib1g-dev
libcmocka-dev libsqlite3-dev python3 openssl git ca-certificates"

if ! command -v dpkg-query > /dev/null 2>&1; then
    echo "packages.sh: this is no Debian or Ubuntu; going on with what is installed (needed: $(echo $packages))" >&2
    exit 0
fi

is_installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2> /dev/null)" = "install ok installed" ]
}

missing=""
for package in $packages; do
    is_installed "$package" || missing="$missing $package"
done

if [ -n "$missing" ]; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo > /dev/null 2>&1; then
            echo "packages.sh: run as root, or install sudo; missing:$missing" >&2
            exit 4
        fi
        as_root="sudo"
    fi
    echo "Installing:$missing"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086 # the list is meant to be split
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
    # Sanitizers for clang, used by the preset `fuzz` only; a package of their own in newer releases.
    major=$(clang --version 2> /dev/null | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p')
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "libclang-rt-$major-dev" > /dev/null 2>&1 || true
fi

version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
if [ "${version% *}" -lt 3 ] || { [ "${version% *}" -eq 3 ] && [ "${version#* }" -lt 25 ]; }; then
    echo "packages.sh: CMake 3.25 or later is needed; this system has $(cmake --version | head -n 1). Debian 12 and Ubuntu 24.04 have it." >&2
    exit 4
fi
