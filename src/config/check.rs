//! `lode config check`: the settings in force, in the form of the file, each with where it comes from.

use std::fmt::Write;

use super::layers::Fact;
use super::origin::Origin;
use super::setting::Section;

/// The facts as text.
pub fn print(facts: &[Fact]) -> String {
    let mut text = String::new();
    let mut pools: Vec<usize> =
        facts.iter().filter(|fact| fact.section == Section::Pool).map(|f| f.pool).collect();
    pools.dedup();
    for pool in &pools {
        let of_pool = facts.iter().filter(|fact| fact.section == Section::Pool && fact.pool == *pool);
        part(&mut text, &format!("[[pool]] # {pool}"), of_pool);
    }
    if pools.is_empty() {
        text.push_str("# no pool: `lode mine` practises with the pool inside it and earns nothing\n\n");
    }
    let mut devices: Vec<usize> =
        facts.iter().filter(|fact| fact.section == Section::Device).map(|f| f.pool).collect();
    devices.sort_unstable();
    devices.dedup();
    for (title, section) in [
        ("[cpu]", Section::Cpu),
        ("[gpu]", Section::Gpu),
        ("[asic]", Section::Asic),
        ("[report]", Section::Report),
        ("# this run", Section::Run),
    ] {
        part(&mut text, title, facts.iter().filter(|fact| fact.section == section));
        for device in devices.iter().filter(|_| section == Section::Asic) {
            let of_device =
                facts.iter().filter(|fact| fact.section == Section::Device && fact.pool == *device);
            part(&mut text, &format!("[[device]] # {device}"), of_device);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn part<'a>(text: &mut String, title: &str, facts: impl Iterator<Item = &'a Fact>) {
    let lines: Vec<(String, String)> = facts.map(line).collect();
    let width = lines.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0);
    let _ = writeln!(text, "{title}");
    for (setting, origin) in lines {
        let _ = writeln!(text, "{setting:width$}  # {origin}");
    }
    text.push('\n');
}

fn line(fact: &Fact) -> (String, String) {
    let setting = match &fact.value {
        Some(value) => format!("{} = {value}", fact.name),
        None => format!("{} -", fact.name),
    };
    let origin = match &fact.origin {
        Origin::Default => "default".to_owned(),
        Origin::File(spot) => {
            let (line, _) = spot.line_column();
            format!("{} line {line}", spot.file().path.display())
        }
        Origin::Flag(flag) => format!("flag {flag}"),
        Origin::Env(name) => format!("variable {name}"),
    };
    (setting, origin)
}
