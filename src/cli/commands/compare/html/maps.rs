//! Draws the block maps on the page.

use ext4_canon::compare::{BlockMaps, Cell, Occupancy, Use};

use super::markup::{Escaped, line, slug};
use crate::cli::remedy;

/// The maximum number of cells in a map.
pub const CELLS: u64 = 64 * 24;
/// The number of cells in a row.
const COLUMNS: usize = 64;
/// The size of a cell, in units of the SVG.
const SIDE: usize = 10;

/// The explanation of the maps on the page.
const MEANING: &str = "A cell is a range of blocks, from left to right and from top to bottom, in the colour \
                       of the kind of content that most of its used blocks have. The second map of each \
                       image shows its canonical form: without stale data and fragments, and in the same \
                       places for equal trees.";

/// Appends the legend of all maps.
pub fn legend(page: &mut String) {
    line(page, format_args!("<p>{MEANING}</p>"));
    let keys = Use::ALL
        .map(|what| format!("<li><span class=\"key {}\"></span>{}</li>", slug(what.name()), what.name()));
    line(page, format_args!("<ul class=\"legend\">{}</ul>", keys.concat()));
}

/// Appends the maps of an image and of its canonical form.
pub fn both(page: &mut String, name: &str, maps: &BlockMaps) {
    line(page, format_args!("<div class=\"maps\">"));
    figure(page, &format!("{name}, before"), &maps.before);
    match &maps.after {
        Ok(after) => figure(page, &format!("{name}, canonical"), after),
        Err(error) => {
            let words = error.in_words(remedy::option);
            line(page, format_args!("<p>No canonical form: {}</p>", Escaped(&words)));
        }
    }
    line(page, format_args!("</div>"));
}

fn figure(page: &mut String, caption: &str, map: &Occupancy) {
    let rows = map.cells.len().div_ceil(COLUMNS);
    line(
        page,
        format_args!(
            "<figure>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            COLUMNS * SIDE,
            rows * SIDE,
            Escaped(caption)
        ),
    );
    let uses: Vec<Use> = map.cells.iter().map(main_use).collect();
    for (row, uses) in uses.chunks(COLUMNS).enumerate() {
        let mut first = 0;
        for run in uses.chunk_by(|one, other| one == other) {
            let blocks = [first, first + run.len()].map(|cell| {
                ((row * COLUMNS + cell) as u64).saturating_mul(map.blocks_per_cell).min(map.blocks)
            });
            line(
                page,
                format_args!(
                    "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{SIDE}\"><title>blocks {} to {}: {}</title></rect>",
                    slug(run[0].name()),
                    first * SIDE,
                    row * SIDE,
                    run.len() * SIDE,
                    blocks[0],
                    blocks[1] - 1,
                    run[0].name()
                ),
            );
            first += run.len();
        }
    }
    let total = map.total();
    let counts = Use::ALL.map(|what| format!("{} {}", what.name(), total[what as usize]));
    line(
        page,
        format_args!(
            "</svg>\n<figcaption><strong>{}</strong>: {} blocks of content in {} fragments ({})</figcaption>\n</figure>",
            Escaped(caption),
            total[Use::File as usize],
            map.fragments,
            counts.join(", ")
        ),
    );
}

/// Returns the use that determines the colour of a cell: the most common use of its blocks. Free blocks count
/// only if all blocks are free.
fn main_use(cell: &Cell) -> Use {
    let used = Use::ALL.into_iter().filter(|what| *what != Use::Free && cell[*what as usize] > 0);
    used.max_by_key(|what| cell[*what as usize]).unwrap_or(Use::Free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_drawn_as_what_most_of_it_is() {
        let mut cell = Cell::default();
        assert_eq!(main_use(&cell), Use::Free);
        cell[Use::Free as usize] = 90;
        cell[Use::File as usize] = 6;
        cell[Use::Stale as usize] = 4;
        assert_eq!(main_use(&cell), Use::File);
    }
}
