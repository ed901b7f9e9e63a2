//! Times a forward of a checkpoint's UNet, for `benches/unet_forward.py`.
//!
//! `unet_forward MODEL_DIR INPUTS OUTPUT THREADS`: INPUTS is a safetensors file with `latents` [batch, channels,
//! frames, height, width], `text` [batch, tokens, features] and `timestep` [1]; OUTPUT is written with `noise`, what
//! the net predicts. Then each line on stdin is answered by the milliseconds of one more forward.
#![allow(clippy::print_stdout, reason = "it answers there")]

use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Instant;

use motionflow::checkpoint::Loader;
use motionflow::nets::attention::NoObserver;
use motionflow::nets::unet::{UNet, UNet3DConfig};
use motionflow::registry;
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, inputs, output, threads] = arguments.as_slice() else {
        return Err("usage: unet_forward MODEL_DIR INPUTS OUTPUT THREADS".into());
    };
    tch::set_num_threads(threads.parse()?);
    let _no_gradients = tch::no_grad_guard();

    let checkpoint = registry::open(model.as_ref())?;
    let weights = checkpoint.weights("unet")?;
    let loader = Loader::new(&weights, "unet", Device::Cpu, Kind::Float);
    let unet = UNet::new(&loader, checkpoint.config::<UNet3DConfig>("unet")?.shape()?);
    loader.finish()?;

    let inputs = Tensor::read_safetensors(inputs)?;
    let input = |name: &str| {
        let found = inputs.iter().find(|(key, _)| key == name);
        found.map(|(_, tensor)| tensor).ok_or_else(|| format!("the inputs lack `{name}`"))
    };
    let (latents, text) = (input("latents")?, input("text")?);
    let timestep = input("timestep")?.int64_value(&[0]);
    let forward = || {
        unet.forward(latents, timestep.into(), text, &mut NoObserver).continue_value().ok_or("stopped early")
    };

    Tensor::write_safetensors(&[("noise", forward()?.contiguous())], output)?;
    println!("ready");
    for line in stdin().lock().lines() {
        line?;
        let start = Instant::now();
        drop(forward()?);
        println!("{}", start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}
