// The engine with only the built-ins that the script uses: each one left out is start time saved.
use rquickjs::{context::intrinsic, Context, Runtime};

const MEMORY_LIMIT_BYTES: usize = 256 << 20;
const STACK_LIMIT_BYTES: usize = 1 << 20;

pub fn open() -> rquickjs::Result<(Runtime, Context)> {
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(MEMORY_LIMIT_BYTES);
    runtime.set_max_stack_size(stack_limit());
    // No cycle collection: the process ends within seconds and gives everything back at once.
    runtime.set_gc_threshold(usize::MAX);
    let context = Context::builder()
        .with::<intrinsic::Json>()
        .with::<intrinsic::RegExp>()
        .with::<intrinsic::RegExpCompiler>()
        .with::<intrinsic::MapSet>()
        .with::<intrinsic::TypedArrays>()
        .with::<intrinsic::Promise>()
        .build(&runtime)?;
    Ok((runtime, context))
}

/// Deeply nested JSON must end in a JavaScript error, not in a fault, also under a caller with a small stack.
fn stack_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call. It cannot fail with these arguments (getrlimit(2)).
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) };
    STACK_LIMIT_BYTES.min(usize::try_from(limit.rlim_cur / 2).unwrap_or(STACK_LIMIT_BYTES))
}
