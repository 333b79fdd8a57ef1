# Short names for what the scripts do; nothing needs `just`. `just` alone lists them.
_:
    @just --list

# Formats all code
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Clippy, every warning an error
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Runs all tests
test:
    scripts/test

# Runs all tests in the release profile
test-release:
    scripts/long-checks release

# Compiles the benches
bench-check:
    cargo bench --no-run --bench '*'

# Checks licences, bans and sources of the dependencies
deny:
    scripts/deny

# Builds the documentation, every warning an error
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace

# The whole gate
ci:
    .ci/run
