//! Whom TLS trusts.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::config::limits;

/// Certificates that TLS trusts: those of `bundle`, or of the system.
///
/// # Errors
/// When the bundle cannot be read, or has none.
pub fn roots(bundle: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match bundle {
        Some(path) => {
            let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let bytes = std::fs::metadata(path).map_err(|error| say(&error))?.len();
            if bytes > limits::TLS_ROOTS_BYTES_MAX {
                return Err(say(&"it is too long"));
            }
            for der in CertificateDer::pem_file_iter(path).map_err(|error| say(&error))? {
                let der = der.map_err(|error| say(&error))?;
                roots.add(der).map_err(|error| say(&error))?;
            }
            if roots.is_empty() {
                return Err(say(&"it has no certificate"));
            }
        }
        // Without any, no server is trusted, and the request says so.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.len() > limits::TLS_ROOTS_MAX {
        return Err(format!(
            "more than {} root certificates",
            limits::TLS_ROOTS_MAX
        ));
    }
    Ok(roots)
}
