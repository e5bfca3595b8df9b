// Clocks: time that only goes forward for deadlines, and time since boot for the order of calls.
use rquickjs::{prelude::Func, Object, Result};

pub fn install(host: &Object) -> Result<()> {
    host.set("nowMs", Func::from(now_ms))?;
    host.set("bootTimeUs", Func::from(|| read(libc::CLOCK_BOOTTIME) / 1e3))?;
    host.set(
        "sleepMs",
        Func::from(|ms: f64| std::thread::sleep(std::time::Duration::from_secs_f64(ms.clamp(0.0, 60e3) / 1e3))),
    )
}

pub fn now_ms() -> f64 {
    read(libc::CLOCK_MONOTONIC) / 1e6
}

/// What is left until a deadline on the clock of `now_ms`, as poll(2) and socket options take it; 0 when it has passed.
pub fn left_ms(deadline_ms: f64) -> i32 {
    (deadline_ms - now_ms()).ceil().clamp(0.0, i32::MAX as f64) as i32
}

/// Nanoseconds. A double holds them exactly for 104 days and to a microsecond for centuries.
fn read(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; both clocks exist on every kernel we run on.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
