//! The exit codes, in one table: scripts, `--help`, the man page and JSON all rely on it.

/// Makes [`ExitCode`] of rows: a name in the code and a number; the name in JSON; the meaning in the documentation.
macro_rules! exit_codes {
    ($($(#[$doc:meta])* $code:ident = $number:literal, $name:literal, $meaning:literal;)*) => {
        /// How the process ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum ExitCode {
            $($(#[$doc])* $code = $number,)*
        }

        impl ExitCode {
            /// All of them, by number.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$code),*];

            /// The name of this kind of error in JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// What it means, for `--help` and the man page.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)*
                }
            }
        }
    };
}

exit_codes! {
    /// Nothing failed.
    Done = 0, "done",
        "done; with --check: IN is canonical; compare: A and B have one canonical form";
    /// `--check` says no, a digest does not match, or two images differ.
    NotCanonical = 1, "not-canonical",
        "--check says that IN is not canonical; digest --check, that a digest is another; compare, that A \
         and B differ";
    /// The command line asks for something impossible.
    Usage = 2, "usage",
        "usage: wrong options, IN and OUT are one file, or a file of a kind that can't be IN or OUT \
         (directory, socket, device)";
    /// The image uses what this version does not handle.
    Unsupported = 3, "unsupported",
        "unsupported: not an ext2, ext3 or ext4 image, a feature that this version does not handle, or a \
         canonical form that does not fit into the image";
    /// The image is damaged or unclean.
    Damaged = 4, "damaged",
        "the image is damaged, or was not cleanly unmounted: run e2fsck first";
    /// A file can't be read or written.
    Io = 5, "io",
        "a file can't be read or written, or IN was changed meanwhile";
    /// A bug of this program; the number is `EX_SOFTWARE` of sysexits.h.
    Internal = 70, "internal",
        "internal error: a bug, please report it";
}

impl ExitCode {
    /// The number that the process exits with.
    pub fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_rely_on_the_numbers() {
        let numbers = ExitCode::ALL.map(ExitCode::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 70]);
    }
}
