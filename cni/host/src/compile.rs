// Turns the bundled script into bytecode: `compile-script IN.js OUT.bin`, run by cni/build.ts.
use rquickjs::{context::intrinsic, module::WriteOptions, Context, Module, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, output] = arguments.as_slice() else {
        return Err("usage: compile-script IN.js OUT.bin".into());
    };
    let source = std::fs::read(input)?;
    let runtime = Runtime::new()?;
    let context = Context::custom::<intrinsic::All>(&runtime)?;
    let bytecode = context.with(|ctx| {
        let module = Module::declare(ctx, "sinabro-cni", source)?;
        module.write(WriteOptions { strip_source: true, ..WriteOptions::default() })
    })?;
    std::fs::write(output, bytecode)?;
    Ok(())
}
