// The process: environment, stdin with a limit and a deadline, stdout, stderr, pid and exit code.
use crate::clock::{left_ms, now_ms};
use rquickjs::{prelude::Func, Ctx, IntoJs, Object, Result, TypedArray, Value};

pub fn install(host: &Object) -> Result<()> {
    // What is not UTF-8 turns into U+FFFD, which no check lets through.
    host.set(
        "env",
        Func::from(|name: String| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())),
    )?;
    host.set("pid", Func::from(std::process::id))?;
    host.set("readStdin", Func::from(read_stdin))?;
    host.set("stdout", Func::from(|text: String| write_all(libc::STDOUT_FILENO, text.as_bytes())))?;
    host.set("stderr", Func::from(|text: String| write_all(libc::STDERR_FILENO, text.as_bytes())))?;
    host.set("utf8Length", Func::from(|text: String| text.len()))?;
    host.set("decodeUtf8", Func::from(decode_utf8))?;
    host.set("exit", Func::from(|code: i32| exit(code)))
}

/// Without the clean-up of std: nothing is buffered, and the kernel takes back the rest.
pub fn exit(code: i32) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// 0 or -errno.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> i32 {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are of one slice.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match written {
            0.. => bytes = &bytes[written as usize..],
            _ if last_errno() == libc::EINTR => {}
            // A pipe that somebody made non-blocking, and full.
            _ if last_errno() == libc::EAGAIN => match wait(fd, libc::POLLOUT, now_ms() + 1e3) {
                0.. => {}
                error => return error,
            },
            _ => return -last_errno(),
        }
    }
    0
}

pub fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Waits until one of `events` or an error is there: the events, -ETIMEDOUT or -errno.
pub fn wait(fd: i32, events: i16, deadline_ms: f64) -> i32 {
    loop {
        let mut entry = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: one entry, alive during the call.
        match unsafe { libc::poll(&mut entry, 1, left_ms(deadline_ms)) } {
            0 => return -libc::ETIMEDOUT,
            1.. => return entry.revents.into(),
            _ if last_errno() == libc::EINTR => {}
            _ => return -last_errno(),
        }
    }
}

/// One read(2) of at most `max_bytes` after waiting for it: the bytes (none at the end), or -errno.
pub fn read_once<'js>(ctx: Ctx<'js>, fd: i32, max_bytes: usize, deadline_ms: f64) -> Result<Value<'js>> {
    let mut buffer = vec![0u8; max_bytes];
    match read_into(fd, &mut buffer, deadline_ms) {
        length @ 0.. => {
            buffer.truncate(length as usize);
            to_bytes(ctx, buffer)
        }
        error => error.into_js(&ctx),
    }
}

fn read_into(fd: i32, buffer: &mut [u8], deadline_ms: f64) -> i32 {
    loop {
        let waited = wait(fd, libc::POLLIN, deadline_ms);
        if waited < 0 {
            return waited;
        }
        // SAFETY: pointer and length are of one slice.
        let length = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        match length {
            0.. => return length as i32,
            _ if matches!(last_errno(), libc::EINTR | libc::EAGAIN) => {}
            _ => return -last_errno(),
        }
    }
}

/// Everything until the end, or the first `max_bytes` of it, or -errno. A terminal counts as empty: nobody types a configuration.
fn read_stdin(ctx: Ctx, max_bytes: usize, deadline_ms: f64) -> Result<Value> {
    let mut all = Vec::new();
    let mut chunk = [0u8; 64 << 10];
    // SAFETY: a plain question about an fd.
    let is_terminal = unsafe { libc::isatty(libc::STDIN_FILENO) } == 1;
    while !is_terminal && all.len() < max_bytes {
        match read_into(libc::STDIN_FILENO, &mut chunk, deadline_ms) {
            0 => break,
            length @ 1.. => all.extend_from_slice(&chunk[..length as usize]),
            error => return error.into_js(&ctx),
        }
    }
    all.truncate(max_bytes);
    to_bytes(ctx, all)
}

pub fn to_bytes(ctx: Ctx, bytes: Vec<u8>) -> Result<Value> {
    TypedArray::<u8>::new(ctx, bytes).map(TypedArray::into_value)
}

/// `undefined` for what is not UTF-8.
fn decode_utf8(bytes: TypedArray<u8>) -> Option<String> {
    // SAFETY: the bytes are copied before the script can touch them again.
    String::from_utf8(unsafe { bytes.as_bytes() }?.to_vec()).ok()
}
