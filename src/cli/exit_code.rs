//! Defines the exit codes in one table. The texts in `--help`, the man page and JSON are generated from it,
//! and scripts rely on the numbers.

/// Defines [`ExitCode`] from rows with the variant and its number, the name in JSON, and the meaning for the
/// documentation.
macro_rules! exit_codes {
    ($($(#[$doc:meta])* $code:ident = $number:literal, $name:literal, $meaning:literal;)*) => {
        /// The exit code of the process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum ExitCode {
            $($(#[$doc])* $code = $number,)*
        }

        impl ExitCode {
            /// All exit codes, in ascending order.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$code),*];

            /// Returns the name of this outcome in JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// Returns the meaning, for `--help` and the man page.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)*
                }
            }
        }
    };
}

exit_codes! {
    /// The command succeeded.
    Done = 0, "done",
        "success; --check: IN is canonical; compare: A and B have the same canonical form";
    /// The image is not canonical, a digest does not match, or two images differ.
    NotCanonical = 1, "not-canonical",
        "--check: IN is not canonical; digest --check: a digest does not match; compare: A and B differ";
    /// The command line is invalid, or names a file that can't be used as requested.
    Usage = 2, "usage",
        "invalid options, IN and OUT are the same file, or a file of a type that can't be IN or OUT \
         (directory, socket, device)";
    /// The image has an unsupported format or feature, or its canonical form does not fit.
    Unsupported = 3, "unsupported",
        "not an ext2, ext3 or ext4 image, an unsupported feature, or a canonical form that does not fit into \
         the image";
    /// The image is damaged, or its state needs e2fsck.
    Damaged = 4, "damaged",
        "the image is damaged, or in a state that needs e2fsck: run e2fsck first";
    /// A file can't be read or written, or the input changed during the run.
    Io = 5, "io",
        "a file can't be read or written, or IN changed during the run";
    /// A bug in this program. The number is `EX_SOFTWARE` in sysexits.h.
    Internal = 70, "internal",
        "internal error: a bug, please report it";
}

impl ExitCode {
    /// Returns the number with which the process exits.
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
