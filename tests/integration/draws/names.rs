//! Unusual file names, and ordinary ones.

use crate::support::dice::Dice;

/// Returns a name that is unique in its directory, if `number` is.
pub fn name(dice: &mut Dice, number: usize) -> Vec<u8> {
    let plain = format!("f{number}");
    match dice.roll(16) {
        0 => longest(&plain, 255),
        1 => longest(&plain, 1 + dice.roll(255)),
        2 => [b"\xff\xfe", plain.as_bytes(), b"\x80"].concat(),
        3 => [b"-", plain.as_bytes()].concat(),
        4 => format!("with space and \"quotes\" {number}").into_bytes(),
        5 => format!("ünïcödé-{number}-日本").into_bytes(),
        6 => [plain.as_bytes(), b"\n\t\x01\x7f"].concat(),
        7 => [b".", plain.as_bytes()].concat(),
        8 => format!("..{number}#=\\%20").into_bytes(),
        _ => plain.into_bytes(),
    }
}

fn longest(start: &str, length: usize) -> Vec<u8> {
    format!("{:n<1$}", format!("{start}_"), length).into_bytes()
}
