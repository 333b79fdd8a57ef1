use proptest::prelude::*;

use super::*;

fn hash_rate(value: f64) -> String {
    rate(HashRate(value))
}

#[test]
fn rates_have_four_digits_and_a_prefix() {
    for (value, shown) in [
        (0.0, "0.000 H/s"),
        (0.5, "0.500 H/s"),
        (1.0, "1.000 H/s"),
        (999.94, "999.9 H/s"),
        (999.96, "1.000 kH/s"),
        (12_340_000.0, "12.34 MH/s"),
        (9_999_600.0, "10.00 MH/s"),
        (1.2e12, "1.200 TH/s"),
        (1e21, "1.000 ZH/s"),
        (1e-9, "1.000e-9 H/s"),
        (1e60, "1.000e60 H/s"),
        (f64::NAN, "? H/s"),
        (f64::INFINITY, "? H/s"),
    ] {
        assert_eq!(hash_rate(value), shown, "{value:e}");
    }
    assert_eq!(rate_or_unknown(None), "-");
}

#[test]
fn a_proven_rate_keeps_one_unit() {
    let proven = |rate, low, high| {
        proven_rate(ProvenRate { rate: HashRate(rate), low: HashRate(low), high: HashRate(high) })
    };
    assert_eq!(proven(12.1e6, 0.95e6, 1490.0e6), "12.10 MH/s (0.95-1490.00)");
    assert_eq!(proven(1e40, 9e39, 2e40), "1.000e40 H/s (9.000e39-2.000e40)");
}

#[test]
fn difficulties_are_short() {
    for (value, shown) in [
        (1.0, "1"),
        (16.0, "16"),
        (10.0, "10"),
        (0.25, "0.25"),
        (0.001, "0.001"),
        (1e-12, "1.000e-12"),
        (8192.0, "8.192 k"),
        (4.3e9, "4.3 G"),
        (126.4e12, "126.4 T"),
        (1e60, "1.000e60"),
    ] {
        assert_eq!(difficulty(Difficulty::new(value).unwrap()), shown);
    }
    assert_eq!(amount(0.0), "0");
}

#[test]
fn durations_and_latencies() {
    for (seconds, shown) in [
        (0, "00:00:00"),
        (65, "00:01:05"),
        (86_399, "23:59:59"),
        (93_784, "1d 02:03:04"),
        (8_640_000, "100d 00:00:00"),
    ] {
        assert_eq!(duration(Duration::from_secs(seconds)), shown);
    }
    for (micros, shown) in
        [(0, "<1 ms"), (999, "<1 ms"), (31_900, "31 ms"), (9_999_999, "9999 ms"), (12_340_000, "12.3 s")]
    {
        assert_eq!(latency(Duration::from_micros(micros)), shown);
    }
}

#[test]
fn text_from_elsewhere_cannot_move_the_cursor() {
    assert_eq!(printable("job \"1\"\\ é\n\u{1b}[2J"), "job \"1\"\\ é\\n\\u{1b}[2J");
    assert_eq!(printable("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
    assert_eq!(cut("0123456789", 4), "0123…");
    assert_eq!(cut("éé", 2), "éé");
}

/// The number that a formatted amount stands for.
fn read(shown: &str) -> f64 {
    let (number, unit) = shown.split_once(' ').unwrap_or((shown, ""));
    let prefix = unit.trim_end_matches("H/s");
    let thousands = PREFIXES.iter().position(|&known| known == prefix).unwrap();
    number.parse::<f64>().unwrap() * 1000f64.powi(thousands as i32)
}

proptest! {
    #[test]
    fn numbers_are_short_and_near(value in prop_oneof![1e-3..1e33, (-3.0..33.0).prop_map(|x| 10f64.powf(x)), any::<f64>()]) {
        let value = f64::abs(value);
        prop_assume!(value.is_finite());
        for shown in [hash_rate(value), amount(value)] {
            prop_assert!(shown.len() <= 15, "{shown}");
            prop_assert!((read(&shown) - value).abs() <= value * 0.000_51 + 0.000_51 * f64::from(value >= 0.001), "{shown}");
        }
    }

    #[test]
    fn more_never_reads_as_less(exponent in -6.0..40.0, step in 0.0..0.002) {
        let less = 10f64.powf(exponent);
        let more = less * (1.0 + step);
        prop_assert!(read(&hash_rate(less)) <= read(&hash_rate(more)) * (1.0 + 1e-12));
        prop_assert!(read(&amount(less)) <= read(&amount(more)) * (1.0 + 1e-12));
    }

    #[test]
    fn durations_are_bounded_and_ordered_within_a_day(a in 0u64..86_400, b in 0u64..86_400, any in any::<Duration>()) {
        prop_assert!(duration(any).len() <= 25);
        prop_assert!(latency(any).len() <= 25);
        let (a, b) = (a.min(b), a.max(b));
        prop_assert!(duration(Duration::from_secs(a)) <= duration(Duration::from_secs(b)));
    }

    #[test]
    fn printable_text_holds_no_control_and_stays(text in any::<String>()) {
        let once = printable(&text);
        prop_assert!(!once.chars().any(char::is_control));
        prop_assert_eq!(printable(&once), once);
    }
}
