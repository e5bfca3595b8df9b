// Files, one system call each where it can be; 0 or -errno. What they mean together (tmp, fsync, rename) is the script's to say.
use crate::process::to_bytes;
use rquickjs::{prelude::Func, Ctx, IntoJs, Object, Result, Value};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};

pub fn install(host: &Object) -> Result<()> {
    host.set("readFile", Func::from(read_file))?;
    host.set("createFile", Func::from(|path: String, text: String| status(create_file(&path, &text))))?;
    host.set(
        "syncDirectory",
        Func::from(|path: String| status(File::open(path).and_then(|folder| folder.sync_all()))),
    )?;
    host.set("makeDirectory", Func::from(|path: String| status(DirBuilder::new().mode(0o700).create(path))))?;
    host.set("rename", Func::from(|from: String, to: String| status(std::fs::rename(from, to))))?;
    host.set("unlink", Func::from(|path: String| status(std::fs::remove_file(path))))?;
    host.set("isSameFile", Func::from(|a: String, b: String| is_same_file(&a, &b).unwrap_or_else(negative)))
}

fn status(result: std::io::Result<()>) -> i32 {
    result.map_or_else(negative, |()| 0)
}

/// A path with a NUL in it has no errno of its own.
fn negative(error: std::io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EINVAL)
}

/// The first `max_bytes`, or -errno.
fn read_file(ctx: Ctx, path: String, max_bytes: u32) -> Result<Value> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(max_bytes.into()).read_to_end(&mut bytes)) {
        Ok(_) => to_bytes(ctx, bytes),
        Err(error) => negative(error).into_js(&ctx),
    }
}

/// A new file of mode 0600 with this text, on disk when it returns (its name is not: `syncDirectory`). Leaves nothing behind when it fails.
fn create_file(path: &str, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

/// 1 if both names lead to the same inode, as two paths of one network namespace do.
fn is_same_file(a: &str, b: &str) -> std::io::Result<i32> {
    let (a, b) = (std::fs::metadata(a)?, std::fs::metadata(b)?);
    Ok((a.dev() == b.dev() && a.ino() == b.ino()).into())
}
