//! `[extensions]`: its keys and their reader.

use super::schema::{Key, Section, Value};
use crate::types::{MINT_CREDITS, SUPPORTED_EXTENSIONS};

/// The section.
pub(super) const SECTION: Section = Section {
    name: "extensions",
    about: "Extensions of the protocol, used by the miners that ask for them: 0x0002, by which a \
            proxy names the worker of each share; and with a mint bridge 0x4548, by which a miner \
            hears of its credits.",
    keys: &[Key {
        name: "required",
        about: "Extensions without which nobody may mine. With [0x0002] here devices that mine \
                for themselves are refused, too, unless they ask for it.",
        value: Value::Extensions {
            get: |config| config.extensions.required.clone(),
            set: |config, numbers| {
                required(numbers).map(|required| config.extensions.required = required)
            },
        },
    }],
};

/// Supported extensions, none twice.
fn required(numbers: &[u64]) -> Result<Vec<u16>, String> {
    let mut required = Vec::new();
    for number in numbers {
        let known = SUPPORTED_EXTENSIONS.iter().find(|known| u64::from(**known) == *number);
        if *number == u64::from(MINT_CREDITS) {
            return Err(format!(
                "{number:#06x} can't be required, miners hear of their credits if they want to: \
                 remove it"
            ));
        }
        let Some(known) = known else {
            let all: Vec<String> =
                SUPPORTED_EXTENSIONS.iter().map(|known| format!("{known:#06x}")).collect();
            return Err(format!(
                "{number:#06x} is not supported, so nobody could mine: write extensions of {}",
                all.join(", ")
            ));
        };
        if required.contains(known) {
            return Err(format!("holds {known:#06x} twice: keep one"));
        }
        required.push(*known);
    }
    Ok(required)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn read(value: &str) -> Result<Vec<u16>, String> {
        let text = format!("[extensions]\nrequired = {value}\n");
        Config::from_bytes(text.as_bytes(), Path::new("x.toml"))
            .map(|config| config.extensions.required)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn takes_lists_of_supported_extensions() {
        assert_eq!(read("[]").unwrap(), [0_u16; 0]);
        assert_eq!(read("[2]").unwrap(), [2]);
        assert_eq!(read("[\n0x0002,\n]").unwrap(), [2]);
        let text = "[extensions]\nrequired = [2]\n";
        let config = Config::from_bytes(text.as_bytes(), Path::new("x.toml")).unwrap();
        let again = Config::from_bytes(config.to_toml().as_bytes(), Path::new("x.toml"));
        assert_eq!(again.unwrap().extensions.required, [2]);
    }

    #[test]
    fn rejects_what_is_no_supported_extension_and_says_the_remedy() {
        for (value, problem) in [
            ("[3]", "0x0003 is not supported, so nobody could mine: write extensions of 0x0002"),
            ("[2, 0x4548]", "0x4548 can't be required, miners hear of their credits if they want"),
            ("[0x0002, 2]", "holds 0x0002 twice: keep one"),
            ("[-1]", "-1 is out of range: write a whole number from 0 to 65535"),
            ("[65536]", "65536 is out of range"),
            ("[\"2\"]", "holds text: write only whole numbers in it"),
            ("2", "must be a list of numbers, not a whole number: write it in brackets"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(problem), "{value}: {error}");
            assert!(error.contains("x.toml:2:"), "{error}");
        }
    }
}
