//! Tests of channels: what arrives, and what is refused.

use super::*;
use std::fs::File;
use std::io::{Read, Seek, Write};

#[test]
fn a_message_arrives_with_its_descriptors() {
    let (left, right) = Channel::pair().unwrap();
    let mut file = File::from(
        nix::sys::memfd::memfd_create("t", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap(),
    );
    file.write_all(b"beside").unwrap();
    left.send(&("hello", 7), &[file.as_fd(), left.as_fd()])
        .unwrap();
    let ((text, number), fds) = right.recv::<(String, u32)>().unwrap().unwrap();
    assert_eq!((text.as_str(), number, fds.len()), ("hello", 7, 2));
    let mut received = File::from(fds.into_iter().next().unwrap());
    received.rewind().unwrap();
    let mut text = String::new();
    received.read_to_string(&mut text).unwrap();
    assert_eq!(text, "beside");
    let flags = nix::fcntl::fcntl(&received, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

#[test]
fn end_of_stream_and_broken_pipe() {
    let (left, right) = Channel::pair().unwrap();
    left.send(&1u8, &[]).unwrap();
    drop(left);
    assert_eq!(right.recv::<u8>().unwrap().unwrap().0, 1);
    assert!(right.recv::<u8>().unwrap().is_none());
    assert_eq!(
        right.send(&1u8, &[]).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn an_empty_channel_and_a_full_one_would_block() {
    let (left, right) = Channel::pair().unwrap();
    let mut buf = Vec::new();
    let error = right.try_recv_bytes(&mut buf).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let mut sent = 0;
    let error = loop {
        match left.try_send_bytes(&[7; 4096], &[]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(sent >= 16, "room for {sent}");
    assert_eq!(right.try_recv_bytes(&mut buf).unwrap().unwrap().0, 4096);
    assert_eq!(buf, [7; 4096]);
}

#[test]
fn limits_hold_at_and_above() {
    let (left, right) = Channel::pair().unwrap();
    let mut buf = Vec::new();
    left.try_send_bytes(&vec![1; MESSAGE_BYTES_MAX], &[])
        .unwrap();
    assert_eq!(
        right.try_recv_bytes(&mut buf).unwrap().unwrap().0,
        MESSAGE_BYTES_MAX
    );
    for (bytes, fds) in [(MESSAGE_BYTES_MAX + 1, 0), (0, 0), (1, MESSAGE_FDS_MAX + 1)] {
        let error = left
            .try_send_bytes(&vec![1; bytes], &vec![left.as_fd(); fds])
            .unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidInput,
            "{bytes} bytes, {fds} fds"
        );
    }
    left.try_send_bytes(b"x", &vec![left.as_fd(); MESSAGE_FDS_MAX])
        .unwrap();
    assert_eq!(
        right.try_recv_bytes(&mut buf).unwrap().unwrap().1.len(),
        MESSAGE_FDS_MAX
    );
}

#[test]
fn a_message_above_the_limit_is_refused_and_its_descriptors_closed() {
    let (left, right) = Channel::pair().unwrap();
    let mut buf = Vec::with_capacity(MESSAGE_BYTES_MAX);
    let long = vec![1; MESSAGE_BYTES_MAX + 1];
    let (reader, writer) = std::io::pipe().unwrap();
    let extra = [writer.as_raw_fd(); 3];
    send_message(left.as_raw_fd(), &long, &extra, libc::MSG_NOSIGNAL).unwrap();
    drop(writer);
    let error = right.try_recv_bytes(&mut buf).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(buf.is_empty());
    // The end of the pipe is seen only when no copy of the writing end is left.
    assert_eq!((&reader).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_message_of_another_type_is_an_error() {
    let (left, right) = Channel::pair().unwrap();
    left.send(&"text", &[]).unwrap();
    assert_eq!(
        right.recv::<u8>().unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}
