//! Passing sockets to another process, over a unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sends a text, and file descriptors with it.
///
/// # Errors
/// The peer is gone, or there are more than [`MAX_PASSED`].
pub(crate) fn pass(stream: &UnixStream, text: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {MAX_PASSED} sockets")));
    }
    let sent = sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives a text of at most [`MAX_TEXT`] bytes, and the file descriptors that come with it.
///
/// # Errors
/// The peer is gone, or sent something else.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; MAX_TEXT];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            sockets.extend(passed);
        }
    }
    text.truncate(received.bytes);
    let text = String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
    if text.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((text, sockets)) }
}

/// The kernel passes at most 253 at once (SCM_MAX_FD).
const MAX_PASSED: usize = 253;
/// A word for each socket.
const MAX_TEXT: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_socket_is_the_same_one_after_it_was_passed() {
        let (one, other) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // It waits in the queue of the socket.
        let _waiting = TcpStream::connect(address).unwrap();
        pass(&one, "grpc", &[listener.as_fd()]).unwrap();
        drop(listener);
        let (text, sockets) = receive(&other).unwrap();
        let passed = TcpListener::from(sockets.into_iter().next().unwrap());
        assert_eq!((&*text, passed.local_addr().unwrap()), ("grpc", address));
        drop(passed.accept().unwrap());
        drop(one);
        assert_eq!(receive(&other).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
