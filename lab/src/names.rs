//! Names and numbers as users type them: what is near an unknown name, and what a number must be.

use crate::error::Error;

/// The error of a name that is not among the known ones: it tells the nearest.
pub fn unknown<'a>(what: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    // A few slips of the finger, or a part of the name.
    let near = known.iter().copied().filter(|other| distance(other) <= 1 + name.len() / 3).min_by_key(|o| distance(o));
    let part = || known.iter().copied().filter(|other| other.contains(name)).min_by_key(|other| other.len());
    let hint = match near.or_else(part) {
        Some(other) => format!("did you mean {other:?}?"),
        None if known.len() <= 8 => format!("there are {}", known.join(", ")),
        None => format!("`osculate-lab list` names all {}", known.len()),
    };
    Error::Unknown { what, name: name.into(), hint }
}

/// Reads a whole number from `least` to `most`.
pub fn whole(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| match most {
            u64::MAX => format!("a whole number, at least {least}, is wanted"),
            _ => format!("a whole number from {least} to {most} is wanted"),
        })
    }
}

/// Reads a finite number that is 0 or above.
pub fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite());
    number.ok_or_else(|| "a finite number, 0 or above, is wanted".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told() {
        let known = ["meka", "meka-fixed", "adam", "adamw", "sgd", "a", "b", "c", "d"];
        let said = |name: &str| unknown("optimizer", name, known).to_string();
        assert_eq!(said("adamm"), "there is no optimizer \"adamm\"; did you mean \"adam\"?");
        assert_eq!(said("fixed"), "there is no optimizer \"fixed\"; did you mean \"meka-fixed\"?");
        assert_eq!(said("levenberg"), "there is no optimizer \"levenberg\"; `osculate-lab list` names all 9");
        assert_eq!(unknown("problem", "x", ["digits"]).to_string(), "there is no problem \"x\"; there are digits");
    }

    #[test]
    fn numbers_are_what_they_must_be() {
        assert_eq!(whole(1, 9)("9"), Ok(9));
        for wrong in ["0", "10", "-3", "x", "1.5"] {
            assert_eq!(whole(1, 9)(wrong), Err("a whole number from 1 to 9 is wanted".into()), "{wrong}");
        }
        assert_eq!(not_negative("0"), Ok(0.0));
        for wrong in ["-1", "nan", "inf", "x"] {
            assert!(not_negative(wrong).is_err(), "{wrong}");
        }
    }
}
