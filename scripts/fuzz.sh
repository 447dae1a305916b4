#!/usr/bin/env bash
# Fuzzes every target, or those named, for some seconds each.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]        20 seconds by default; the targets are fuzz/fuzz_targets/*.rs
#
# Needs a nightly toolchain; installs cargo-fuzz if it is missing. Seeds come from fuzz/corpus/<target>, which stays as
# it is; what the fuzzer finds on its way is kept in fuzz/target/corpus/<target>. An input that fails is written to
# fuzz/artifacts/<target>; put it into fuzz/corpus/<target> with the fix, and `cargo test` will replay it for ever.
# The exit status is 0 if no target failed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=20
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "No nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "== Installing cargo-fuzz"
    cargo install --locked cargo-fuzz
fi

# The crates have no unsafe code, so coverage and overflow checks are worth more than a sanitizer's slowness.
fuzz() { cargo +nightly fuzz "$1" --sanitizer none "${@:2}"; }

fuzz build
failed=()
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    found=fuzz/target/corpus/$target
    log=fuzz/target/$target.log
    mkdir -p "$found"
    if fuzz run "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 >"$log" 2>&1; then
        grep -E 'number_of_executed_units|new_units_added|peak_rss_mb' "$log"
    else
        tail -n 40 "$log"
        failed+=("$target")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]} (inputs in fuzz/artifacts)" >&2
    exit 1
fi
echo "ok: ${#targets[@]} targets, $seconds s each"
