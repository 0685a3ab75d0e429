//! The `tidegate` command.

use std::process::ExitCode;

/// Half a microsecond per check less than the system's allocator (see `docs/ARCHITECTURE.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
