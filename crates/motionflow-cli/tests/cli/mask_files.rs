//! The masks that a run leaves as files.

use std::fs;

use motionflow_eval::npz::Npz;
use motionflow_media::image;

use crate::common::{Place, SMALL, car, motionflow, run, tiny_model};

#[test]
fn a_run_leaves_its_masks_as_pictures_and_as_arrays() {
    let place = Place::new();
    let (model, look) = (tiny_model(), place.text("look"));
    let source = ["--source", &*car(), "--source-prompt", "a [car] and a [Car] and a [red dog]"];
    motionflow(&[&["inspect", "-m", &model, "-o", &look], &source[..], &SMALL[..]].concat()).ok();
    assert_eq!(place.names("look/masks"), ["Car-2", "car", "red dog"]);
    let mut npz = Npz::open(&place.path("look/masks.npz")).unwrap();
    let (masks, soft) = (npz.read("masks").unwrap(), npz.read("soft").unwrap());
    assert_eq!((&masks.shape[..], &soft.shape[..]), (&[3, 3, 16, 24][..], &[3, 3, 16, 24][..]));
    for frame in 0..3 {
        for (subject, name) in ["car", "Car-2", "red dog"].iter().enumerate() {
            let picture = |folder: &str| {
                let path = format!("look/masks/{name}/{folder}{:04}.png", frame + 1);
                image::open(place.path(&path)).unwrap().into_luma8()
            };
            let places = (frame * 3 + subject) * 16 * 24;
            let of = |values: &[f32], scale: f32| -> Vec<u8> {
                values[places..places + 16 * 24].iter().map(|value| (value * scale) as u8).collect()
            };
            assert_eq!(picture("").into_raw(), of(&masks.values, 255.0));
            assert_eq!(picture("soft/").into_raw(), of(&soft.values, 1.0));
        }
    }
    assert!(soft.values.iter().any(|value| *value > 0.0 && *value < 255.0), "the soft maps have greys");
    // The mask is where the soft map is high.
    let mean = |inside: bool| {
        let chosen: Vec<f32> = soft
            .values
            .iter()
            .zip(&masks.values)
            .filter(|(_, mask)| (**mask > 0.5) == inside)
            .map(|(v, _)| *v)
            .collect();
        chosen.iter().sum::<f32>() / chosen.len() as f32
    };
    assert!(mean(true) > mean(false) + 20.0, "{} {}", mean(true), mean(false));
}

#[test]
fn masks_of_an_old_run_are_replaced_and_a_folder_of_somebody_is_not() {
    let place = Place::new();
    let transfer = |flags: &[&str]| run(place.transfer_to("out").args(flags));
    fs::create_dir_all(place.path("out/masks")).unwrap();
    fs::write(place.path("out/masks/notes.txt"), "mine").unwrap();
    transfer(&[]).fails(2, &["holds masks, which is no run's"]);
    fs::remove_dir_all(place.path("out/masks")).unwrap();
    transfer(&[]).ok();
    assert_eq!(place.names("out/masks/car").len(), 4);
    fs::remove_file(place.path("out/masks/car/0002.png")).unwrap();
    // The pictures are there to be edited: the run is whole without them.
    motionflow(&["transfer", "--resume", &place.text("out")]).ok();
    let outcome = transfer(&["--force", "--seed", "3"]).ok();
    assert!(outcome.stdout.contains("masks.npz"), "{}", outcome.stdout);
    assert_eq!(place.names("out/masks/car").len(), 4);
    // Masks that a run reads are not those that it replaces.
    let own = ["--force", "--mask", &*place.text("out/masks/car")];
    transfer(&own).fails(2, &["out/masks: is the mask of this run, and its results would replace it"]);
    assert_eq!(place.names("out/masks/car").len(), 4);
}
