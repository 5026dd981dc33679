//! Classifies a picture: `classify ../c_api/seven.pgm`.
mod abi;
mod model;

use std::{env, fs, process};

/// An 8x8 picture as text PGM ("P2"); grey values become 0 to 1.
fn read_picture(path: &str, pixels: usize) -> Result<Vec<f32>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let mut words = text.split_whitespace();
    let magic = words.next();
    let numbers: Vec<f32> = words.map_while(|w| w.parse().ok()).collect();
    match (magic, numbers.as_slice()) {
        (Some("P2"), [width, height, top, values @ ..])
            if width * height == pixels as f32 && values.len() == pixels && *top > 0.0 =>
        {
            Ok(values.iter().map(|v| v / top).collect())
        }
        _ => Err(format!("{path}: not a text PGM of {pixels} pixels")),
    }
}

fn classify(path: &str) -> Result<(), String> {
    let mut model = model::Model::new(1)?;
    let scores = model.run(&read_picture(path, model.input.elements)?)?;
    for (digit, score) in scores.iter().enumerate() {
        println!("{digit}: {score:8.4}");
    }
    let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    println!("digit: {}", best.ok_or("the model gives no scores")?);
    Ok(())
}

fn main() {
    let path = env::args().nth(1).unwrap_or_else(|| {
        eprintln!("usage: classify PICTURE.pgm");
        process::exit(2);
    });
    if let Err(why) = classify(&path) {
        eprintln!("{why}");
        process::exit(1);
    }
}
