# Shared by the scripts here and by .ci/run; sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
tool_dir="${XDG_CACHE_HOME:-$HOME/.cache}/lode/tools"
# Where no cargo is on the path, rustup's goes first: a rustc alone comes from scripts/aarch64 and is not the toolchain.
command -v cargo >/dev/null 2>&1 || PATH="$HOME/.cargo/bin:$PATH"
export PATH="$PATH:$HOME/.cargo/bin:$tool_dir/bin"

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command under a heading and prints how long it took. It stands in no condition, which would switch `set -e`
# off inside it; the trap names the step that ended the script.
step() {
    current_step=$1
    local start=$SECONDS
    shift
    printf '\n== %s\n' "$current_step"
    "$@"
    printf -- '-- %s: %d s\n' "$current_step" $((SECONDS - start))
    current_step=
}

report_failed_step() {
    [ -z "${current_step:-}" ] || printf '\n%s: FAILED in step "%s" after %d s\n' "${0##*/}" "$current_step" "$SECONDS"
}

# The two things that no script here installs.
require_toolchain() {
    have cc || have gcc || have clang ||
        die "no C compiler found (cc, gcc or clang); on Debian: apt-get install gcc libc6-dev"
    { have cargo && have rustc; } || die "no Rust found (cargo, rustc); get stable Rust from https://rustup.rs"
    rustc --version >/dev/null || die "rustc does not run; is the toolchain of rust-toolchain.toml installed?"
    new_enough rustc ||
        die "$(rustc --version) is too old, $(rust_version) or newer is needed: rustup update stable"
}

rust_version() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# new_enough RUSTC: succeeds when this compiler is at least as new as Cargo.toml wants.
new_enough() {
    local found
    found=$("$1" --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$(rust_version)" "${found%%-*}" | sort -V | head -n1)" = "$(rust_version)" ]
}

# Empty for root, "sudo -n" where sudo asks for no password; fails when packages cannot be installed.
installer() {
    have apt-get && [ -z "${LODE_NO_INSTALL:-}" ] || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    have sudo && sudo -n true 2>/dev/null && printf 'sudo -n'
}

# install_package PACKAGE...: succeeds when the packages could be installed without removing any other.
install_package() {
    local sudo
    sudo=$(installer) || return 1
    printf 'installing from Debian: %s\n' "$*"
    local install="$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends --no-remove"
    # shellcheck disable=SC2086 # an empty $sudo must vanish
    { $install "$@" || { $sudo apt-get update -qq && $install "$@"; }; } >/dev/null 2>&1 </dev/null
}

# debian PROGRAM PACKAGE: succeeds when the program is there, or could be installed from the Debian package.
debian() { have "$1" || { install_package "$2" && have "$1"; }; }

# Succeeds when Mesa's Vulkan driver for CPUs is there, or could be installed: a GPU for tests.
software_gpu() {
    compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null && return 0
    install_package mesa-vulkan-drivers libvulkan1
    compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null
}

host_triple() { rustc -vV | sed -n 's/^host: //p'; }
