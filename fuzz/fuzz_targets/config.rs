//! No text makes the configuration's parser panic, and what it accepts prints as something it accepts again, unchanged.
//! `cargo fuzz run config`
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::config::Config;

fuzz_target!(|text: &str| {
    if let Ok(config) = Config::parse(text, "fuzz.toml") {
        let printed = config.to_toml();
        assert_eq!(Config::parse(&printed, "printed.toml").as_ref(), Ok(&config), "{printed}");
    }
});
