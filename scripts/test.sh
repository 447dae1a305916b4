#!/usr/bin/env bash
# Runs every test, from formatting to real browsers, and installs what that needs and is missing.
#
#   scripts/test.sh
#
# Needs Debian (or something else with apt) and Rust. The interoperability tests make network namespaces, so they run
# as root, by sudo when this does not. Nothing that they do leaves the machine. On 2 cores all of it takes some
# minutes; the last line is the summary of the last test binary, and the exit status is 0 only if every step passed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "The interoperability tests make network namespaces. Run this as root, or install sudo." >&2
        exit 1
    fi
    root=(sudo)
fi

# ---- what is missing ----

packages=()
need() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || packages+=("$2"); }
need cc build-essential
need chromium chromium
need firefox-esr firefox-esr
need ip iproute2
need nft nftables
need node nodejs
need openssl openssl
need tshark tshark
need turnserver coturn
need python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    say "Installing ${packages[*]}"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
if ! command -v cargo >/dev/null; then
    echo "No cargo: install Rust from https://rustup.rs" >&2
    exit 1
fi
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    say "Installing rustfmt and clippy"
    rustup component add rustfmt clippy
fi
PATH=$PATH:/usr/sbin
if ! "${root[@]}" ip netns add "sntry$$"; then
    echo "This machine does not allow network namespaces, which the interoperability tests need (in a container: --privileged)." >&2
    exit 1
fi
"${root[@]}" ip netns del "sntry$$"

# ---- the steps; a failed one does not hide what the later ones would say ----

failed=()
step() {
    local title=$1
    shift
    say "$title"
    local began=$SECONDS
    if "$@"; then
        echo "-- $title: $((SECONDS - began)) s"
    else
        failed+=("$title")
        echo "-- $title: FAILED after $((SECONDS - began)) s" >&2
    fi
}

# shellcheck disable=SC2317  # called through step
fuzz_targets() {
    if cargo +nightly --version >/dev/null 2>&1; then
        cargo +nightly build --locked --quiet --manifest-path fuzz/Cargo.toml
    else
        echo "No nightly toolchain: the fuzz targets are not built (their corpora were replayed by the tests above)."
    fi
}

# shellcheck disable=SC2317  # called through step
javascript() {
    local options=()
    # Debian 12's Node.js is 18, where two things that browsers have must be asked for.
    if [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
        options=(NODE_OPTIONS="--experimental-global-webcrypto --experimental-global-customevent")
    fi
    env "${options[@]}" timeout 600 node --test web/alm/tests/*.test.js web/p2p/tests/*.test.js web/page/tests/*.test.js
}

# The tests themselves run as root, the compiler does not.
interop() {
    local runner=()
    if [ ${#root[@]} -gt 0 ]; then
        local host
        host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        runner=(env "CARGO_TARGET_${host}_RUNNER=sudo -E")
    fi
    "${runner[@]}" cargo test --locked -p sinnet-interop --no-fail-fast "$@" -- --test-threads=1
}

# The matrix of browsers against the command comes last, everything else of that package before it.
others=(--lib)
for file in tests/interop/tests/*; do
    name=$(basename "$file" .rs)
    [ "$name" = browsers ] || others+=(--test "$name")
done

step "Formatting" cargo fmt --all --check
step "Lints" cargo clippy --locked --workspace --all-targets -- -D warnings
step "Unit, pair, simulation and loopback tests" cargo test --locked --workspace --exclude sinnet-interop --no-fail-fast
step "JavaScript" javascript
step "Documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
step "Fuzz targets" fuzz_targets
step "Release build of the command" cargo build --locked --release -p sinnet-cli
step "The Python stack aiortc" scripts/aiortc.sh
step "Interoperability: the harness, OpenSSL, aiortc and the library" interop "${others[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED so far: %s\n' "${failed[@]}" >&2
fi
say "Interoperability: Chromium and Firefox ($SECONDS s so far)"
status=0
interop --test browsers || status=$?
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    status=1
fi
exit "$status"
