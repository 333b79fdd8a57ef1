//! What exactly is running.

/// The version alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// Version, commit and target in one line, for logs and reports.
pub const LINE: &str =
    concat!("lode ", env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ", ", env!("BUILD_TARGET"), ")");

/// What `lode --version` prints behind the name: the version and the facts of the build.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("BUILD_COMMIT"),
    "\ntarget:   ",
    env!("BUILD_TARGET"),
    "\nprofile:  ",
    env!("BUILD_PROFILE"),
    "\ncompiler: ",
    env!("BUILD_RUSTC"),
    "\nfeatures: ",
    env!("BUILD_FEATURES"),
);

/// The commit that was built, or `unknown`.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// The target.
pub const TARGET: &str = env!("BUILD_TARGET");

/// The profile.
pub const PROFILE: &str = env!("BUILD_PROFILE");

/// The compiler and its version.
pub const COMPILER: &str = env!("BUILD_RUSTC");
