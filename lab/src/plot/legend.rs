//! Names beside a picture, never upon it.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Drawn;

/// Pixels beside the picture.
pub const WIDTH: u32 = 230;

/// Pixels of a line.
const LINE: i32 = 20;

/// A name and the colour of its curve.
pub struct Entry<'a> {
    pub name: &'a str,
    pub colour: RGBColor,
}

/// Draws the names from the top; long ones are broken at their equals signs.
pub fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, entries: &[Entry<'_>]) -> Drawn
where
    DB::ErrorType: 'static,
{
    let mut y = 52;
    for entry in entries {
        area.draw(&PathElement::new([(4, y), (28, y)], entry.colour.stroke_width(3)))?;
        for (at, name) in lines(entry.name).into_iter().enumerate() {
            let indent = if at == 0 { 34 } else { 46 };
            area.draw(&Text::new(name, (indent, y - 7), ("sans-serif", 14)))?;
            y += LINE;
        }
    }
    Ok(())
}

/// Pixels that the names need.
pub fn height(entries: &[Entry<'_>]) -> u32 {
    let count: usize = entries.iter().map(|entry| lines(entry.name).len()).sum();
    72 + count as u32 * LINE as u32
}

/// A name in lines that fit.
fn lines(name: &str) -> Vec<String> {
    const FITS: usize = 26;
    let mut lines: Vec<String> = Vec::new();
    for part in name.split(" = ") {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() + 3 <= FITS => *line += &format!(" = {part}"),
            Some(_) => lines.push(format!("= {part}")),
            None => lines.push(part.into()),
        }
    }
    lines
}
