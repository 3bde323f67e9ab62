//! What TLS needs of files: certificates, keys and authorities become rustls's configurations, and the right certificate is
//! found for each client. Reads files when it is told to and never by itself; handshakes and bytes are `relay`'s.
//!
//! [`Server`] is a listener's, [`Client`] an upstream's, [`Material`] has them all. Each holds what is current and takes what
//! comes after it, so that a file that changes reaches new handshakes without a reload and without touching connections.
//! `control` decides when.

mod choice;
mod client;
mod error;
mod expiry;
mod files;
mod leaf;
mod material;
mod pair;
mod server;
mod stamp;
mod staple;
#[cfg(test)]
mod tests;
mod trust;

pub use client::{Client, Connector, client};
pub use error::MaterialError;
pub use expiry::Expiry;
pub use leaf::{Leaf, common_name};
pub use material::{Material, Mistakes};
pub use server::{Server, server};
pub use stamp::Stamps;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The one implementation of ciphers in this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
