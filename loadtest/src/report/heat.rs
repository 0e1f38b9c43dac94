//! Tenants × seconds as a picture: darker is slower, a dot is an error.
//!
//! Cells of one colour are one SVG path of horizontal strokes, neighbours joined: a map of 40 × 120
//! cells is some kilobytes and not some hundred.

use super::axis::{Axis, Scale};
use super::phases::Bands;
use super::plot::{caption, coordinate, names_x};
use super::text::{escape, number};
use super::time::drawn;
use crate::limits::{HEAT_COLUMNS_MAX, HEAT_ROWS_MAX};
use crate::results::{Heat, Results};

/// Colours of the scale; the style sheet has as many.
const LEVELS: usize = 9;

/// A heat map per population on one colour scale; empty when no tenants were told apart.
pub(super) fn section(results: &Results) -> String {
    let populations = drawn(results);
    let Some(axis) = shared_axis(populations.iter().map(|population| &population.heat)) else {
        return String::new();
    };
    let bands = Bands::new(results);
    let maps: String = populations
        .iter()
        .enumerate()
        .filter(|(_, population)| !population.heat.rows.is_empty())
        .map(|(index, population)| {
            let map = Map {
                heat: &population.heat,
                scale: axis.scale,
                rows: population.heat.rows.len().min(HEAT_ROWS_MAX),
                columns: columns(&population.heat),
            };
            figure(index, &population.name, &map, &bands)
        })
        .collect();
    format!(
        "<section id=\"heat\"><h2>Tenants along time</h2><p>The p99 of each tenant, or group of tenants, \
         in each stretch of time.</p>{}{maps}</section>\n",
        legend(&axis)
    )
}

/// One population's map.
struct Map<'a> {
    heat: &'a Heat,
    scale: Scale,
    rows: usize,
    columns: usize,
}

impl Map<'_> {
    /// The colour of a cell; none where nothing ended.
    fn level(&self, row: usize, column: usize) -> Option<usize> {
        let value = f64::from(*self.heat.p99_ms.get(row)?.get(column)?);
        let known = value.is_finite() && value >= 0.0;
        known.then(|| ((self.scale.at(value) * LEVELS as f64) as usize).min(LEVELS - 1))
    }

    fn errors(&self, row: usize, column: usize) -> u32 {
        let row = self.heat.errors.get(row);
        row.and_then(|row| row.get(column)).copied().unwrap_or(0)
    }

    /// One path per colour, of strokes as thick as a row.
    fn cells(&self) -> String {
        let mut paths = vec![String::new(); LEVELS];
        for row in 0..self.rows {
            let mut column = 0;
            while column < self.columns {
                let level = self.level(row, column);
                let same = (column..self.columns).take_while(|it| self.level(row, *it) == level);
                let run = same.count();
                if let Some(path) = level.and_then(|level| paths.get_mut(level)) {
                    *path += &format!("M{column} {row}.5h{run}");
                }
                column += run;
            }
        }
        let drawn = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| !path.is_empty());
        drawn
            .map(|(level, path)| format!("<path class=\"cell h{level}\" d=\"{path}\"/>"))
            .collect()
    }

    /// A dot in every cell with errors: a line of no length with round caps.
    fn dots(&self) -> String {
        let mut path = String::new();
        for (row, column, _) in self.failed() {
            path += &format!("M{column}.5 {row}.5h0");
        }
        if path.is_empty() {
            return path;
        }
        format!("<path class=\"err rim\" d=\"{path}\"/><path class=\"err\" d=\"{path}\"/>")
    }

    fn failed(&self) -> impl Iterator<Item = (usize, usize, u32)> {
        (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (row, column)))
            .map(|(row, column)| (row, column, self.errors(row, column)))
            .filter(|(_, _, errors)| *errors > 0)
    }

    /// What the page's script reads out: a digit per cell, and the errors by cell.
    fn data(&self) -> String {
        let mut cells = String::with_capacity(self.rows * self.columns);
        for row in 0..self.rows {
            for column in 0..self.columns {
                let level = self.level(row, column);
                cells.push(level.map_or('.', |level| char::from(b'0' + level as u8)));
            }
        }
        let errors: Vec<String> = self
            .failed()
            .map(|(row, column, errors)| format!("{}:{errors}", row * self.columns + column))
            .collect();
        format!(
            "data-cells=\"{cells}\" data-errors=\"{}\" data-columns=\"{}\" data-seconds=\"{}\" data-scale=\"{}\"",
            errors.join(" "),
            self.columns,
            self.heat.column_s,
            self.scale.attribute()
        )
    }
}

fn figure(index: usize, name: &str, map: &Map<'_>, bands: &Bands) -> String {
    let (rows, columns) = (map.rows, map.columns);
    let failed = map.failed().count();
    let names: String = map.heat.rows[..rows]
        .iter()
        .map(|row| format!("<span title=\"{0}\">{0}</span>", escape(row)))
        .collect();
    // The map covers as much of the shared time axis as it has columns.
    let covered = bands.axis.scale.at(columns as f64 * map.heat.column_s);
    format!(
        "<figure class=\"heat p{index}\" style=\"--rows:{rows}\">{caption}<div class=\"frame\">\
         <div class=\"strip\">{strip}</div><div class=\"rows\" aria-hidden=\"true\">{names}</div>\
         <div class=\"area\"><svg style=\"width:{width}%\" viewBox=\"0 0 {columns} {rows}\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"heat-{index}-t heat-{index}-d\" {data}>\
         <title id=\"heat-{index}-t\">Latency of the tenants of {title} along time</title>\
         <desc id=\"heat-{index}-d\">{rows} rows, {columns} columns of {seconds} s; {failed} cells with \
         errors. The table of tenants has the worst of them.</desc>{cells}{dots}</svg></div>\
         <div class=\"x\" aria-hidden=\"true\">{names_x}</div></div></figure>\n",
        caption = caption(
            name,
            "p99 by tenant",
            &match failed {
                0 => "no errors".to_owned(),
                1 => "1 cell with errors".to_owned(),
                _ => format!("{failed} cells with errors"),
            }
        ),
        strip = bands.strip,
        width = coordinate(covered * 100.0),
        data = map.data(),
        title = escape(name),
        seconds = number(map.heat.column_s),
        cells = map.cells(),
        dots = map.dots(),
        names_x = names_x(&bands.axis),
    )
}

fn columns(heat: &Heat) -> usize {
    let widest = heat.p99_ms.iter().map(Vec::len).max().unwrap_or(0);
    widest.clamp(1, HEAT_COLUMNS_MAX)
}

fn shared_axis<'a>(maps: impl Iterator<Item = &'a Heat>) -> Option<Axis> {
    let cells = maps.flat_map(|heat| heat.p99_ms.iter().flatten());
    let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
    for value in cells.map(|value| f64::from(*value)) {
        if value > 0.0 && value.is_finite() {
            (min, max) = (min.min(value), max.max(value));
        }
    }
    (max > 0.0).then(|| Axis::log(min, max))
}

fn legend(axis: &Axis) -> String {
    let colours: String = (0..LEVELS)
        .map(|level| format!("<path class=\"cell h{level}\" d=\"M{level} .5h1\"/>"))
        .collect();
    format!(
        "<div class=\"legend\"><span>p99, ms</span><div class=\"ramp\"><svg viewBox=\"0 0 {LEVELS} 1\" \
         preserveAspectRatio=\"none\" role=\"img\"><title>Colour scale, logarithmic</title>{colours}</svg>\
         <div class=\"x\">{}</div></div><span><i class=\"none\"></i>nothing ended</span>\
         <span><i class=\"err\"></i>errors</span></div>",
        names_x(axis)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(p99_ms: Vec<Vec<f32>>, errors: Vec<Vec<u32>>, cells: &str, dots: &str) {
        let heat = Heat {
            rows: vec!["a".to_owned(), "b".to_owned()],
            column_s: 1.0,
            p99_ms,
            errors,
        };
        let map = Map {
            scale: Scale::Log {
                from: 1.0,
                to: 1000.0,
            },
            rows: 2,
            columns: columns(&heat),
            heat: &heat,
        };
        assert_eq!((map.cells().as_str(), map.dots().as_str()), (cells, dots));
    }

    #[test]
    fn neighbours_of_one_colour_are_one_stroke() {
        check(
            vec![vec![1.0, 1.0, -1.0, 1.0], vec![900.0, 900.0, 900.0, 1.0]],
            vec![vec![0, 0, 3, 0]],
            "<path class=\"cell h0\" d=\"M0 0.5h2M3 0.5h1M3 1.5h1\"/><path class=\"cell h8\" d=\"M0 1.5h3\"/>",
            "<path class=\"err rim\" d=\"M2.5 0.5h0\"/><path class=\"err\" d=\"M2.5 0.5h0\"/>",
        );
    }

    #[test]
    fn rows_that_are_missing_are_empty_cells() {
        check(vec![], vec![], "", "");
        check(vec![vec![f32::NAN]], vec![vec![]], "", "");
    }
}
