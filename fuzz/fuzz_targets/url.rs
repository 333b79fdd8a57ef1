//! URLs of pools and proxies.
#![no_main]

use stratum::url::{PoolAddress, ProxyUrl};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(address) = PoolAddress::parse(text) {
        let shown = address.url.to_string();
        let again = PoolAddress::parse(&shown).expect("what is shown can be read");
        assert_eq!(again.url, address.url);
        assert!(address.url.host.len() <= 253 && address.url.port > 0);
    }
    if let Ok(proxy) = ProxyUrl::parse(text) {
        let again = ProxyUrl::parse(&proxy.to_string()).expect("what is shown can be read");
        assert_eq!((again.host, again.port), (proxy.host, proxy.port));
    }
});
