// The engine with only the built-ins that the script uses: each one left out is start time saved.
use rquickjs::{context::intrinsic, Context, Runtime};

const MEMORY_LIMIT_BYTES: usize = 256 << 20;
/// Deeply nested JSON must end in a JavaScript error, not in a fault: well below the 8 MiB of a usual main thread.
const STACK_LIMIT_BYTES: usize = 1 << 20;

pub fn open() -> rquickjs::Result<(Runtime, Context)> {
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(MEMORY_LIMIT_BYTES);
    runtime.set_max_stack_size(STACK_LIMIT_BYTES);
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
