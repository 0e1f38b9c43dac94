//! What a guest is told when its request cannot be sent: the error codes of `wasi:http`.

use std::io;

use rustls::AlertDescription;
use wasmtime_wasi_http::p2::bindings::http::types::{
    DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload,
};

use crate::control::DialError;
use crate::fault::Reason;
use crate::http::BadAnswer;

/// Why there is no connection.
pub(super) fn dial(error: DialError) -> ErrorCode {
    match error {
        DialError::Denied => ErrorCode::HttpRequestDenied,
        DialError::Prohibited => ErrorCode::DestinationIpProhibited,
        DialError::NotFound => ErrorCode::DnsError(DnsErrorPayload {
            rcode: Some("NXDOMAIN".to_owned()),
            info_code: None,
        }),
        DialError::DnsTimeout => ErrorCode::DnsTimeout,
        DialError::Dns(rcode) => ErrorCode::DnsError(DnsErrorPayload {
            rcode: Some(rcode),
            info_code: None,
        }),
        DialError::Refused => ErrorCode::ConnectionRefused,
        DialError::Unreachable => ErrorCode::DestinationIpUnroutable,
        DialError::TimedOut => ErrorCode::ConnectionTimeout,
        DialError::Busy => ErrorCode::ConnectionLimitReached,
        DialError::Failed(_) => ErrorCode::DestinationUnavailable,
    }
}

/// Why a handshake failed.
pub(super) fn tls(error: &io::Error) -> ErrorCode {
    use rustls::Error;
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    match inner {
        Some(
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::UnsupportedNameType
            | Error::InvalidCertRevocationList(_),
        ) => ErrorCode::TlsCertificateError,
        Some(Error::AlertReceived(alert)) => alert_received(*alert),
        Some(_) => ErrorCode::TlsProtocolError,
        None => ErrorCode::ConnectionTerminated,
    }
}

fn alert_received(alert: AlertDescription) -> ErrorCode {
    ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
        alert_id: Some(alert.into()),
        alert_message: Some(format!("{alert:?}")),
    })
}

/// Why a response head cannot be read.
pub(super) fn head(bad: BadAnswer) -> ErrorCode {
    match bad {
        BadAnswer::Malformed => ErrorCode::HttpProtocolError,
        BadAnswer::HeadTooLarge => ErrorCode::HttpResponseHeaderSectionSize(None),
        BadAnswer::TransferCoding => ErrorCode::HttpResponseTransferCoding(None),
        BadAnswer::Upgrade => ErrorCode::HttpUpgradeFailed,
    }
}

/// Why a response body cannot be read.
pub(super) fn body(reason: Reason) -> ErrorCode {
    match reason {
        Reason::BodyTooLarge => ErrorCode::HttpResponseBodySize(None),
        Reason::HeadTooLarge => ErrorCode::HttpResponseTrailerSectionSize(None),
        _ => ErrorCode::HttpProtocolError,
    }
}
