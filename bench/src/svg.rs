//! Charts as SVG: bars for sides beside each other, lines for how something grows. Both axes of lines, and bars where the
//! values are far apart, are logarithmic.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Colours that the colour-blind can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#777777"];

/// A group of bars: its name, and a value for each member of the legend, if there is one.
pub type Group = (String, Vec<Option<f64>>);

/// A line: its name, and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// Horizontal bars in groups. `legend` names the bars of every group.
pub fn bars(title: &str, unit: &str, legend: &[String], groups: &[Group]) -> String {
    let bar = 15.0;
    let height_of = |group: &Group| bar * group.1.iter().flatten().count() as f64 + 14.0;
    let top = 54.0 + 18.0 * legend.len().div_ceil(5) as f64;
    let height = top + groups.iter().map(height_of).sum::<f64>() + 10.0;
    let values =
        || groups.iter().flat_map(|group| group.1.iter().flatten().copied()).filter(|value| *value > 0.0);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let is_log = most > 30.0 * least;
    let floor = 10_f64.powf(least.log10().floor());
    let share = |value: f64| match is_log {
        true => (value / floor).log10().max(0.0) / (most / floor).log10(),
        false => value / most,
    };
    let mut svg = open(height, title, &format!("{unit}{}", if is_log { ", logarithmic" } else { "" }));
    for (index, name) in legend.iter().enumerate() {
        let (x, y) = (14.0 + 145.0 * (index % 5) as f64, 52.0 + 18.0 * (index / 5) as f64);
        let colour = COLOURS[index % COLOURS.len()];
        let _ = write!(svg, "<rect x='{x}' y='{}' width='11' height='11' fill='{colour}'/>", y - 2.0);
        text(&mut svg, x + 16.0, y + 8.0, "start", name);
    }
    let mut y = top;
    let (left, room) = (120.0, WIDTH - 120.0 - 90.0);
    for group in groups {
        text(&mut svg, left - 8.0, y + (height_of(group) - 14.0) / 2.0 + 4.0, "end", &group.0);
        for (index, value) in group.1.iter().enumerate() {
            let Some(value) = value else { continue };
            let (long, colour) = ((share(*value) * room).max(1.0), COLOURS[index % COLOURS.len()]);
            let _ = write!(
                svg,
                "<rect x='{left}' y='{y:.1}' width='{long:.1}' height='{}' fill='{colour}'/>",
                bar - 2.0
            );
            text(&mut svg, left + long + 5.0, y + 11.0, "start", &number(*value));
            y += bar;
        }
        y += 14.0;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Lines over logarithmic axes that both begin at a power of ten.
pub fn lines(title: &str, x_axis: &str, y_axis: &str, lines: &[Line]) -> String {
    let (left, right, top, height) = (64.0, 150.0, 50.0, 420.0);
    let points =
        || lines.iter().flat_map(|line| line.1.iter().copied()).filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let range = |of: fn((f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min).log10().floor();
        let most = points().map(of).fold(0.0, f64::max).log10().ceil();
        (least, most.max(least + 1.0))
    };
    let (x_range, y_range) = (range(|point| point.0), range(|point| point.1));
    let bottom = height - 46.0;
    let x_of = |x: f64| left + (x.log10() - x_range.0) / (x_range.1 - x_range.0) * (WIDTH - left - right);
    let y_of = |y: f64| bottom - (y.log10() - y_range.0) / (y_range.1 - y_range.0) * (bottom - top);
    let mut svg = open(height, title, y_axis);
    text(&mut svg, (left + WIDTH - right) / 2.0, height - 8.0, "middle", x_axis);
    for power in x_range.0 as i32..=x_range.1 as i32 {
        let x = x_of(10_f64.powi(power));
        let _ = write!(svg, "<path d='M{x:.1} {top}V{bottom}' stroke='#ddd'/>");
        text(&mut svg, x, bottom + 16.0, "middle", &number(10_f64.powi(power)));
    }
    for power in y_range.0 as i32..=y_range.1 as i32 {
        let y = y_of(10_f64.powi(power));
        let _ = write!(svg, "<path d='M{left} {y:.1}H{}' stroke='#ddd'/>", WIDTH - right);
        text(&mut svg, left - 8.0, y + 4.0, "end", &number(10_f64.powi(power)));
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1} {:.1}", x_of(*x), y_of(*y))).collect();
        let _ = write!(svg, "<path d='M{}' fill='none' stroke='{colour}' stroke-width='2'/>", path.join("L"));
        for (x, y) in points {
            let _ = write!(svg, "<circle cx='{:.1}' cy='{:.1}' r='3' fill='{colour}'/>", x_of(*x), y_of(*y));
        }
        let y = top + 8.0 + 18.0 * index as f64;
        let _ = write!(
            svg,
            "<rect x='{}' y='{}' width='11' height='11' fill='{colour}'/>",
            WIDTH - right + 12.0,
            y - 9.0
        );
        text(&mut svg, WIDTH - right + 28.0, y + 1.0, "start", name);
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(height: f64, title: &str, subtitle: &str) -> String {
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}' font-family='sans-serif' \
         font-size='12'><rect width='100%' height='100%' fill='#fff'/>"
    );
    let _ = write!(svg, "<text x='14' y='22' font-size='15' font-weight='bold'>{}</text>", escaped(title));
    text(&mut svg, 14.0, 39.0, "start", subtitle);
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(svg, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{}</text>", escaped(text));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// With three digits that matter, and commas.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        value if value < 0.1 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_no_more_digits_than_matter() {
        let texts = [0.0, 0.0123, 1.0, 1.256, 12.34, 123.4, 1234.5, 1_234_567.0, -4321.0].map(number);
        assert_eq!(texts, ["0", "0.012", "1", "1.26", "12.3", "123", "1,234", "1,234,567", "-4,321"]);
    }

    #[test]
    fn the_longest_bar_and_the_highest_point_stay_within_the_picture() {
        let groups =
            [("a <b>".to_owned(), vec![Some(1.0), None]), ("c".to_owned(), vec![Some(1e6), Some(2.0)])];
        let svg = bars("t", "u", &["one".to_owned(), "two".to_owned()], &groups);
        assert!(
            svg.contains("a &lt;b&gt;") && svg.contains("width='550.0'") && !svg.contains("NaN"),
            "{svg}"
        );
        let svg = lines("t", "x", "y", &[("l".to_owned(), vec![(1.0, 10.0), (1000.0, 10.0)])]);
        assert!(svg.contains("cx='610.0' cy='374.0'") && !svg.contains("NaN"), "{svg}");
    }
}
