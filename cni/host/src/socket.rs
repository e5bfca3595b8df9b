// A client of a Unix stream socket, every step with a deadline on the clock of `nowMs`. File descriptors and bytes; it knows no protocol.
use crate::clock::left_ms;
use crate::process::{last_errno, read_once, wait};
use rquickjs::{prelude::Func, Object, Result};

pub fn install(host: &Object) -> Result<()> {
    host.set("connect", Func::from(|path: String, deadline_ms: f64| connect(&path, deadline_ms)))?;
    host.set("send", Func::from(|fd: i32, text: String, deadline_ms: f64| send(fd, text.as_bytes(), deadline_ms)))?;
    host.set("receive", Func::from(read_once))?;
    // SAFETY: the script closes what `connect` gave it, once.
    host.set("close", Func::from(|fd: i32| unsafe { libc::close(fd) }))
}

/// The fd, or -errno. A full backlog makes connect(2) wait, bounded by SO_SNDTIMEO (unix(7)); then it is EAGAIN.
fn connect(path: &str, deadline_ms: f64) -> i32 {
    // SAFETY: all zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() >= address.sun_path.len() {
        return -libc::ENAMETOOLONG;
    }
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: plain system call; the fd is closed below or handed to the script.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return -last_errno();
    }
    let left = left_ms(deadline_ms).max(1);
    let timeout = libc::timeval { tv_sec: (left / 1000).into(), tv_usec: (left % 1000 * 1000).into() };
    // SAFETY: both structures live through their calls and have the sizes given.
    let connected = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const timeout).cast(),
            size_of_val(&timeout) as u32,
        );
        libc::connect(fd, (&raw const address).cast(), size_of_val(&address) as u32)
    };
    if connected == 0 {
        return fd;
    }
    let errno = last_errno();
    // SAFETY: ours, and not handed out.
    unsafe { libc::close(fd) };
    -errno
}

/// All of it, or as much as the peer takes: it may refuse a request by its head, and reading then tells what it said.
/// 0 or -errno.
fn send(fd: i32, mut bytes: &[u8], deadline_ms: f64) -> i32 {
    while !bytes.is_empty() {
        match wait(fd, libc::POLLOUT | libc::POLLIN, deadline_ms) {
            ready if ready < 0 => return ready,
            ready if ready & i32::from(libc::POLLIN) != 0 => return 0,
            _ => {}
        }
        // SAFETY: pointer and length are of one slice. MSG_NOSIGNAL: a gone peer is an error, not a signal.
        let sent =
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        match sent {
            0.. => bytes = &bytes[sent as usize..],
            _ => match last_errno() {
                libc::EINTR | libc::EAGAIN => {}
                libc::EPIPE | libc::ECONNRESET => return 0,
                errno => return -errno,
            },
        }
    }
    0
}
