//! One texture from the bundled model, as raw RGB in a PPM file: `cargo run --release --example generate`.

use std::io::Write;
use std::ops::ControlFlow;

use flowturbo::{Model, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/textures"))?;
    let request = Request::new(vec![model.class("brick")?]).with_seed(7);
    let generation = model.session().generate_with(&request, &mut |progress| {
        match progress.decoded {
            0 => println!("step {} of {} in {:.0?}", progress.step, progress.steps, progress.took),
            image => println!("image {image} of {} in {:.0?}", progress.images, progress.took),
        }
        ControlFlow::Continue(())
    })?;
    let image = &generation.images[0];
    let mut file = std::fs::File::create("brick.ppm")?;
    writeln!(file, "P6 {} {} 255", image.width, image.height)?;
    file.write_all(&image.rgb)?;
    println!("brick.ppm");
    Ok(())
}
