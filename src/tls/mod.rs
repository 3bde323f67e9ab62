//! What TLS needs of files: certificates, keys and authorities become rustls's configurations, and the right certificate is
//! found for each client. Reads files when it is told to and never by itself; handshakes and bytes are `relay`'s.
//!
//! [`Server`] is a listener's, [`Client`] an upstream's. Each holds what is current and takes what comes after it, so that a
//! file that changes reaches new handshakes without a reload and without touching connections. `control` decides when.

mod choice;
mod client;
mod error;
mod files;
mod leaf;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, Connector, client};
pub use error::MaterialError;
pub use leaf::Leaf;
pub use server::{Server, server};

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The one implementation of ciphers in this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
