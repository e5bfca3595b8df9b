// sinabro-cni: runs the script of cni/src, embedded as bytecode, on the functions of the host. Of CNI it knows only how to say
// that the script failed.
mod clock;
mod engine;
mod files;
mod process;
mod socket;

use rquickjs::{CatchResultExt, Ctx, Module, Object, Value};

static SCRIPT: &[u8] = include_bytes!(env!("SINABRO_CNI_BYTECODE"));

fn main() {
    let failure = match run() {
        Ok(()) => "the script ended without an exit code".to_string(),
        Err(error) => error,
    };
    // The script answers every error itself, so this is a defect (or no memory); the runtime still gets a CNI error.
    let text: String = failure.chars().map(|c| if c < ' ' || c == '"' || c == '\\' { '\'' } else { c }).collect();
    let body = format!(r#"{{"cniVersion":"1.0.0","code":100,"msg":"sinabro-cni: {text}"}}"#);
    process::write_all(libc::STDOUT_FILENO, body.as_bytes());
    process::exit(1);
}

fn run() -> Result<(), String> {
    let (runtime, context) = engine::open().map_err(|error| error.to_string())?;
    let outcome = context.with(|ctx| start(&ctx).catch(&ctx).map_err(|error| error.to_string()));
    // Not freed: the process ends now, and freeing costs time.
    std::mem::forget((runtime, context));
    outcome
}

/// The script calls `host.exit` before it returns; what comes back here is a failure, or a script that forgot to.
fn start<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<()> {
    let host = Object::new(ctx.clone())?;
    clock::install(&host)?;
    files::install(&host)?;
    process::install(&host)?;
    socket::install(&host)?;
    ctx.globals().set("host", host)?;
    // SAFETY: the bytecode was written by the same engine version while this program was built (cni/build.ts).
    let (_, promise) = unsafe { Module::load(ctx.clone(), SCRIPT) }?.eval()?;
    promise.finish::<Value>().map(|_| ())
}
