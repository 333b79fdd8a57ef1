//! Bar charts of results, as SVG.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::compare::{ComparedRow, Comparison};
use super::file::{FileError, check_free, write_whole};
use super::report::{BenchReport, BenchRow};
use super::spread::Spread;
use crate::report::format::cut;

/// The first bytes of a chart.
const MARK: &[u8] = b"<svg";

/// All measures are in pixels.
const WIDTH: u32 = 960;
const BAR: u32 = 24;
const GAP: u32 = 14;
const TOP: u32 = 104;
const BOTTOM: u32 = 62;
const LEFT: u32 = 160;
const RIGHT: u32 = 200;

const INK: RGBColor = RGBColor(32, 36, 44);
const FAINT: RGBColor = RGBColor(96, 102, 112);
const GRID: RGBColor = RGBColor(222, 225, 230);
const GREY: RGBColor = RGBColor(150, 156, 166);
const COLOURS: [RGBColor; 4] =
    [RGBColor(158, 202, 225), RGBColor(84, 150, 204), RGBColor(242, 166, 84), RGBColor(178, 160, 214)];

/// Why a chart could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// There is nothing to show.
    #[error("nothing was measured that a chart could show")]
    Empty,
    /// The drawing failed.
    #[error("cannot draw the chart: {0}")]
    Draw(String),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether a chart could be saved at `path`: nothing is there, or another SVG, and the folder takes files.
///
/// # Errors
/// Why not.
pub fn check_place(path: &Path) -> Result<(), FileError> {
    check_chart(path).map(drop)
}

/// Where a chart for `path` goes.
fn check_chart(path: &Path) -> Result<PathBuf, FileError> {
    check_free(path, "no SVG", |path| {
        let mut start = [0; MARK.len()];
        let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        is_file && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MARK
    })
}

/// Saves a chart of a run's result at `path`.
///
/// # Errors
/// Nothing to show, or a file that cannot be written.
pub fn of_report(path: &Path, report: &BenchReport) -> Result<(), ChartError> {
    let place = check_chart(path)?;
    Ok(write_whole(&place, &Plot::of_report(report).draw()?)?)
}

/// Saves a chart of two results side by side at `path`.
///
/// # Errors
/// Nothing to show, or a file that cannot be written.
pub fn of_comparison(path: &Path, comparison: &Comparison) -> Result<(), ChartError> {
    let place = check_chart(path)?;
    Ok(write_whole(&place, &Plot::of_comparison(comparison).draw()?)?)
}

/// A chart before it is drawn.
struct Plot {
    title: String,
    subtitle: String,
    legend: Vec<(String, RGBColor)>,
    groups: Vec<Group>,
}

/// Bars that belong together.
struct Group {
    name: String,
    bars: Vec<Bar>,
}

struct Bar {
    /// In hashes a second.
    rate: Spread,
    colour: RGBColor,
    label: String,
}

impl Plot {
    fn of_report(report: &BenchReport) -> Self {
        let mut threads: Vec<usize> = report.rows.iter().map(|row| row.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        let colour = |of: usize| {
            let place = threads.iter().position(|&threads| threads == of).unwrap_or(0);
            COLOURS[place % COLOURS.len()]
        };
        let baseline = report.baseline_hs.map(|rate| Group {
            name: "sha2 crate".to_owned(),
            bars: vec![Bar { rate, colour: GREY, label: ", the baseline".to_owned() }],
        });
        let mut groups: Vec<Group> = baseline.into_iter().collect();
        for row in &report.rows {
            let BenchRow { rate_hs, ratio, .. } = row;
            let name = row.key().form();
            let label = format!(", {:.2} × sha2", ratio.median);
            let bar = Bar { rate: *rate_hs, colour: colour(row.threads), label };
            match groups.last_mut().filter(|group| group.name == name) {
                Some(group) => group.bars.push(bar),
                None => groups.push(Group { name, bars: vec![bar] }),
            }
        }
        let plural = |threads: usize| if threads == 1 { "" } else { "s" };
        let legend = threads.iter().map(|&n| (format!("{n} thread{}", plural(n)), colour(n))).collect();
        let partial = if report.complete { "" } else { " (partial)" };
        Self {
            title: format!("SHA-256d hash rate by kernel, lode {}{partial}", report.build.version),
            subtitle: report.machine_line(),
            legend,
            groups,
        }
    }

    fn of_comparison(comparison: &Comparison) -> Self {
        let (a, b) = (COLOURS[0], COLOURS[2]);
        let group = |row: &ComparedRow| Group {
            name: format!("{}, {} thr.", row.key.form(), row.key.threads),
            bars: vec![
                Bar { rate: row.a_hs, colour: a, label: String::new() },
                Bar {
                    rate: row.b_hs,
                    colour: b,
                    label: format!(", × {:.3}, {}", row.rate.ratio, row.rate.verdict),
                },
            ],
        };
        let side =
            |name: &str, side: &super::Side| format!("{name}: {}, lode {}", cut(&side.file, 30), side.build);
        let cpu = |side: &super::Side| side.cpu.clone().unwrap_or_else(|| "unknown CPU".to_owned());
        let (cpu_a, cpu_b) = (cpu(&comparison.a), cpu(&comparison.b));
        Self {
            title: "SHA-256d hash rate, two results side by side".to_owned(),
            subtitle: if cpu_a == cpu_b { cpu_a } else { format!("{cpu_a} | {cpu_b}") },
            legend: vec![(side("A", &comparison.a), a), (side("B", &comparison.b), b)],
            groups: comparison.rows.iter().map(group).collect(),
        }
    }

    fn draw(&self) -> Result<String, ChartError> {
        if self.groups.is_empty() {
            return Err(ChartError::Empty);
        }
        let rows: u32 = self.groups.iter().map(Group::height).sum();
        let height = TOP + rows + GAP + BOTTOM;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            self.draw_on(&root, rows + GAP).map_err(|error| ChartError::Draw(error.to_string()))?;
            root.present().map_err(|error| ChartError::Draw(error.to_string()))?;
        }
        Ok(svg)
    }

    fn draw_on(&self, root: &Area<'_>, rows: u32) -> Drawn {
        self.draw_head(root)?;
        let rates = || self.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.rate.p90);
        let (unit, most) = (Unit::of(rates()), rates().fold(0.0, f64::max));
        let mut chart = ChartBuilder::on(root)
            .margin_top(TOP)
            .margin_right(RIGHT)
            .margin_bottom(12)
            .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM - 12)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .build_cartesian_2d(0.0..most / unit.size * 1.02, 0.0..f64::from(rows))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(8)
            .x_label_formatter(&|x| format!("{}", (x * 1000.0).round() / 1000.0))
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(("sans-serif", 16).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 16).into_font().color(&INK))
            .x_desc(format!("hash rate in {}; bar: median, line: p10 to p90 of the windows", unit.name))
            .draw()?;
        let mut y = f64::from(rows) - f64::from(GAP);
        for group in &self.groups {
            let middle = y - f64::from(BAR * group.bars.len() as u32) / 2.0;
            let (left, place) = chart.backend_coord(&(0.0, middle));
            write(root, &cut(&group.name, 20), (left - 10, place), 17.0, INK, HPos::Right)?;
            for bar in &group.bars {
                let (body, lines) = bar.shapes(y, unit.size);
                chart.plotting_area().draw(&body)?;
                lines.iter().try_for_each(|line| chart.plotting_area().draw(line))?;
                let (end, place) = chart.backend_coord(&(bar.rate.p90 / unit.size, y - f64::from(BAR) / 2.0));
                let label = format!("{} {}{}", unit.number(bar.rate.median), unit.name, bar.label);
                write(root, &label, (end + 8, place), 16.0, INK, HPos::Left)?;
                y -= f64::from(BAR);
            }
            y -= f64::from(GAP);
        }
        Ok(())
    }

    /// Title, machine and legend.
    fn draw_head(&self, root: &Area<'_>) -> Drawn {
        root.fill(&WHITE)?;
        write(root, &self.title, (16, 24), 25.0, INK, HPos::Left)?;
        write(root, &cut(&self.subtitle, 130), (16, 50), 16.0, FAINT, HPos::Left)?;
        let mut x = 16;
        for (name, colour) in &self.legend {
            root.draw(&Rectangle::new([(x, 70), (x + 12, 82)], colour.filled()))?;
            write(root, name, (x + 18, 76), 16.0, INK, HPos::Left)?;
            x += 18 + 7 * name.chars().count() as i32 + 24;
        }
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

/// Writes a line of text whose middle is as high as `at`.
fn write(root: &Area<'_>, text: &str, at: (i32, i32), size: f64, colour: RGBColor, side: HPos) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    root.draw(&Text::new(text.to_owned(), at, style))
}

impl Group {
    fn height(&self) -> u32 {
        GAP + BAR * self.bars.len() as u32
    }
}

impl Bar {
    /// The bar below `y`, and over it the line from p10 to p90 with its ends.
    fn shapes(&self, y: f64, unit: f64) -> (Rectangle<Point>, [PathElement<Point>; 3]) {
        let [p10, median, p90] = [self.rate.p10, self.rate.median, self.rate.p90].map(|rate| rate / unit);
        let (bar, middle) = (f64::from(BAR), y - f64::from(BAR) / 2.0);
        let body = Rectangle::new([(0.0, y - 2.0), (median, y - bar + 2.0)], self.colour.filled());
        let line = |from: Point, to| PathElement::new(vec![from, to], INK.stroke_width(2));
        let end = |x| line((x, middle - bar / 5.0), (x, middle + bar / 5.0));
        (body, [line((p10, middle), (p90, middle)), end(p10), end(p90)])
    }
}

/// On the axes.
type Point = (f64, f64);

/// The unit of an axis.
struct Unit {
    /// In hashes a second.
    size: f64,
    name: String,
}

impl Unit {
    /// In which the greatest of `rates` has one to three digits before the point.
    fn of(rates: impl Iterator<Item = f64>) -> Self {
        const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
        let (most, mut size) = (rates.fold(0.0, f64::max), 1.0);
        let mut prefix = 0;
        while most >= 1000.0 * size && prefix + 1 < PREFIXES.len() {
            size *= 1000.0;
            prefix += 1;
        }
        Self { size, name: format!("{}H/s", PREFIXES[prefix]) }
    }

    fn number(&self, rate: f64) -> String {
        let number = rate / self.size;
        let decimals = if number < 99.95 { 2 } else { 1 };
        format!("{number:.decimals$}")
    }
}
