//! What processes of one host say to each other: hand-overs of connections, and control messages.

use std::cell::LazyCell;
use std::io::ErrorKind;

use serde::{Serialize, de::DeserializeOwned};
use skep::control::{ArtifactMessage, FromBroker, FromWorker, Handover, ToBroker, ToWorker};
use skep::sys::Channel;
use skep::sys::channel::MESSAGE_BYTES_MAX;

thread_local! {
    static CHANNEL: LazyCell<(Channel, Channel)> =
        LazyCell::new(|| Channel::pair().expect("a channel"));
}

pub fn run(data: &[u8]) {
    handover(data);
    message::<ToWorker>(data);
    message::<FromWorker>(data);
    message::<ToBroker>(data);
    message::<FromBroker>(data);
    message::<ArtifactMessage>(data);
}

fn handover(data: &[u8]) {
    let Some(handover) = Handover::decode(data) else {
        assert!(data.is_empty());
        return;
    };
    let mut again = Vec::new();
    handover.encode(&mut again);
    assert_eq!(again, data);
}

/// A datagram is a message or an error, and a message says the same when it is sent on.
fn message<M: Serialize + DeserializeOwned>(data: &[u8]) {
    CHANNEL.with(|ends| {
        let sent = ends.0.try_send_bytes(data, &[]);
        if data.is_empty() || data.len() > MESSAGE_BYTES_MAX {
            assert_eq!(
                sent.expect_err("its length").kind(),
                ErrorKind::InvalidInput
            );
            return;
        }
        sent.expect("room for one datagram");
        match ends.1.try_recv::<M>() {
            Ok(received) => {
                let (message, fds) = received.expect("an open channel");
                assert!(fds.is_empty());
                let said = serde_json::to_vec(&message).expect("JSON");
                let again: M = serde_json::from_slice(&said).expect("the same message");
                assert_eq!(serde_json::to_vec(&again).expect("JSON"), said);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidData),
        }
    });
}
