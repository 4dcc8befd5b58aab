//! The `cairnfs` program: everything is in the library's `cli` module.

fn main() -> std::process::ExitCode {
    cairnfs::cli::main()
}
