//! Which frames films give, and what is reported about them: every container, codec and change gives the frames of its times.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod other_ffmpegs;

use std::path::{Path, PathBuf};

use common::{ffmpeg, make};
use motionflow_media::image::RgbImage;
use motionflow_media::source::Notice;
use motionflow_media::{Clip, Error, Ffmpeg, ReadOptions, source};

/// Frames of 64x64 pixels, 25 a second, that show their number as eight black or white bars.
const NUMBERED: &str =
    "color=black:s=64x64:r=25,format=gray,geq=lum='255*mod(floor(N/pow(2\\,floor(X/8)))\\,2)'";
/// A white bar that moves over grey, 50 fields a second.
const FIELDS: &str = "color=gray:s=64x64:r=50:d=1[b];color=white:s=12x32:r=50:d=1[o];\
                      [b][o]overlay=x='mod(n*3,50)':y=16:eval=frame,tinterlace=interleave_top,setfield=tff";
/// No B-frames at the front of the next key frame, and few key frames.
const LONG_GROUPS: &str = "keyint=100:min-keyint=100:scenecut=0";

/// Makes a film of the numbers `from..to`, with these arguments for ffmpeg besides.
fn numbered(folder: &Path, from: usize, to: usize, filters: &str, arguments: &[&str]) {
    let cut = format!("{NUMBERED},trim=start_frame={from}:end_frame={to},setpts=PTS-STARTPTS{filters}");
    make(folder, &[&["-f", "lavfi", "-i", &cut, "-pix_fmt", "yuv420p"], arguments].concat());
}

fn number_of(frame: &RgbImage) -> usize {
    (0..8).map(|bar| usize::from(frame.get_pixel(bar * 8 + 4, 32).0[0] > 127) << bar).sum()
}

fn read(path: &Path, start: f64, frames: usize, every: usize) -> Result<Clip, Error> {
    source::read(ffmpeg(), path, &ReadOptions { start, every, ..ReadOptions::new(frames, 64, 64) })
}

/// Reads, and asserts which numbers come; gives what is reported.
#[track_caller]
fn gives(path: &Path, start: f64, every: usize, numbers: &[usize]) -> Vec<Notice> {
    let clip = read(path, start, numbers.len(), every).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<usize> = clip.frames.iter().map(number_of).collect();
    assert_eq!(found, numbers, "{} from {start} every {every}", path.display());
    clip.notices
}

/// Asserts that the film gives `numbers` from `start` on, of one and of many, and nothing to tell.
#[track_caller]
fn gives_in_silence(path: &Path, start: f64, every: usize, numbers: &[usize]) {
    assert_eq!(gives(path, start, every, numbers), [], "{}", path.display());
}

/// A copy of the streams of `from` in other containers, with these options.
fn copied(folder: &Path, from: &str, names: &[&str]) -> Vec<PathBuf> {
    let copy = |name: &&str| {
        make(folder, &["-i", from, "-c", "copy", name]);
        folder.join(name)
    };
    names.iter().map(copy).collect()
}

/// Two films one behind the other in one file of each of these names, without a change of codec.
fn joined(folder: &Path, first: &str, second: &str, names: &[&str]) -> Vec<PathBuf> {
    std::fs::write(folder.join("list"), format!("file {first}\nfile {second}\n")).unwrap();
    let join = |name: &&str| {
        make(folder, &["-f", "concat", "-i", "list", "-c", "copy", name]);
        folder.join(name)
    };
    names.iter().map(join).collect()
}

#[test]
fn the_start_is_exact_in_every_container() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 130, "", &["-c:v", "libx264", "-x264-params", LONG_GROUPS, "a.mp4"]);
    let mut films =
        copied(folder, "a.mp4", &["a.ts", "a.mkv", "a.avi", "a.flv", "a.mov", "a.h264", "a.nut", "a.m2ts"]);
    films.push(folder.join("a.mp4"));
    for (name, arguments) in [
        ("b.mpg", &["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2", "-g", "100"][..]),
        ("b.vob", &["-c:v", "mpeg2video", "-q:v", "2", "-g", "100"]),
        ("c.mpg", &["-c:v", "mpeg1video", "-q:v", "2", "-bf", "2", "-g", "100"]),
        ("b.avi", &["-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-g", "100"]),
        ("b.webm", &["-c:v", "libvpx-vp9", "-b:v", "1M", "-deadline", "realtime", "-g", "100"]),
        ("b.wmv", &["-c:v", "wmv2", "-q:v", "2", "-g", "100"]),
        ("f.mp4", &["-c:v", "libx264", "-g", "100", "-movflags", "frag_keyframe+empty_moov"]),
    ] {
        numbered(folder, 0, 130, "", &[arguments, &[name]].concat());
        films.push(folder.join(name));
    }
    for film in films {
        assert!((source::probe(ffmpeg(), &film, 8.0).unwrap().fps - 25.0).abs() < 1e-9, "{}", film.display());
        gives_in_silence(&film, 0.2, 1, &[5, 6, 7]);
        gives_in_silence(&film, 3.0, 20, &[75, 95, 115]);
        gives_in_silence(&film, 4.92, 1, &[123, 124, 125, 126, 127, 128, 129]);
        let shortage = read(&film, 4.92, 9, 1).unwrap_err().to_string();
        assert!(
            shortage.contains("it has 130 frames (5.20 s") && shortage.contains(", 7 of them"),
            "{shortage}"
        );
    }
}

#[test]
fn time_counts_from_the_first_frame() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 130, "", &["-c:v", "libx264", "-x264-params", LONG_GROUPS, "a.mp4"]);
    // Sound that begins earlier, and pictures that an edit list takes away.
    make(
        folder,
        &["-itsoffset", "1.5", "-i", "a.mp4", "-f", "lavfi", "-i", "sine=d=5", "-c:v", "copy", "late.mp4"],
    );
    for film in
        copied(folder, "late.mp4", &["late.mkv", "late.ts"]).into_iter().chain([folder.join("late.mp4")])
    {
        gives_in_silence(&film, 0.2, 1, &[5, 6, 7]);
        gives_in_silence(&film, 4.0, 1, &[100, 101]);
    }
    make(folder, &["-ss", "1.3", "-i", "a.mp4", "-c", "copy", "edited.mp4"]);
    gives_in_silence(&folder.join("edited.mp4"), 0.0, 1, &[33, 34, 35]);
    gives_in_silence(&folder.join("edited.mp4"), 3.0, 1, &[108, 109]);
}

#[test]
fn a_change_of_size_or_format_loses_no_frame() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let h264 = ["-c:v", "libx264", "-crf", "5"];
    numbered(folder, 0, 60, "", &[&h264[..], &["a.ts"]].concat());
    let all: Vec<usize> = (0..130).collect();
    let every_fifth: Vec<usize> = (0..130).step_by(5).collect();
    for (name, filters, format) in [
        ("size", ",scale=128:128:flags=neighbor", "yuv420p"),
        ("format", "", "yuv444p"),
        // Wider by half on both sides, and not squeezed.
        ("shape", ",pad=128:64:32:0", "yuv420p"),
    ] {
        let second = format!("{name}.second.ts");
        numbered(folder, 60, 130, filters, &[&h264[..], &["-pix_fmt", format, &second]].concat());
        let names: Vec<String> = ["mp4", "mkv", "mov", "flv"].map(|end| format!("{name}.{end}")).into();
        let films = joined(folder, "a.ts", &second, &names.iter().map(String::as_str).collect::<Vec<_>>());
        for film in films {
            gives_in_silence(&film, 0.0, 1, &all);
            gives_in_silence(&film, 0.0, 5, &every_fifth);
            gives_in_silence(&film, 2.2, 3, &[55, 58, 61, 64]);
        }
    }
    let both =
        [std::fs::read(folder.join("a.ts")).unwrap(), std::fs::read(folder.join("size.second.ts")).unwrap()];
    std::fs::write(folder.join("size.ts"), both.concat()).unwrap();
    gives(&folder.join("size.ts"), 0.0, 1, &all);
    gives(&folder.join("size.ts"), 0.0, 5, &every_fifth);
    let raw =
        copied(folder, "a.ts", &["a.h264"]).into_iter().chain(copied(folder, "size.second.ts", &["b.h264"]));
    let raw: Vec<u8> = raw.flat_map(|path| std::fs::read(path).unwrap()).collect();
    std::fs::write(folder.join("ab.h264"), raw).unwrap();
    gives_in_silence(&folder.join("ab.h264"), 0.0, 1, &all);
    gives_in_silence(&folder.join("ab.h264"), 0.0, 5, &every_fifth);
}

#[test]
fn films_one_behind_the_other_go_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let mut both = Vec::new();
    for (from, to, name) in [(0, 50, "a.ts"), (50, 100, "b.ts")] {
        numbered(folder, from, to, "", &["-c:v", "libx264", name]);
        both.extend(std::fs::read(folder.join(name)).unwrap());
    }
    std::fs::write(folder.join("ab.ts"), both).unwrap();
    gives(&folder.join("ab.ts"), 0.0, 11, &[0, 11, 22, 33, 44, 55, 66, 77, 88, 99]);
    gives(&folder.join("ab.ts"), 1.8, 1, &[45, 46, 47, 48, 49, 50, 51, 52]);
    // A container whose times ffmpeg does not correct; a header of 13 bytes stands before its content.
    let [a, b] = ["a", "b"].map(|name| {
        std::fs::read(&copied(folder, &format!("{name}.ts"), &[&format!("{name}.flv")])[0]).unwrap()
    });
    std::fs::write(folder.join("ab.flv"), [&a[..], &b[13..]].concat()).unwrap();
    for (start, every, numbers) in [
        (0.0, 1, (0..100).collect()),
        (0.0, 11, vec![0, 11, 22, 33, 44, 55, 66, 77]),
        (1.8, 1, (45..90).collect()),
    ] {
        assert_eq!(gives(&folder.join("ab.flv"), start, every, &numbers), [Notice::TimesGoBack]);
    }
}

#[test]
fn uneven_times_are_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    // Frame 4 stands for 21 steps.
    let late = ",setpts=(N+if(gte(N\\,5)\\,20\\,0))/25/TB";
    numbered(folder, 0, 60, late, &["-fps_mode", "vfr", "-c:v", "libx264", "v.mp4"]);
    for film in copied(folder, "v.mp4", &["v.mkv", "v.flv", "v.ts"]).into_iter().chain([folder.join("v.mp4")])
    {
        let told = gives(&film, 0.0, 5, &[0, 4, 4, 4, 4, 5, 10, 15]);
        assert_eq!(told, [Notice::Uneven { fps: 25.0, repeated: 3, dropped: 0 }], "{}", film.display());
        let told = gives(&film, 0.92, 1, &[4, 4, 5, 6]);
        assert_eq!(told, [Notice::Uneven { fps: 25.0, repeated: 1, dropped: 0 }], "{}", film.display());
        gives_in_silence(&film, 1.0, 2, &[5, 7, 9]);
    }
    for rate in ["17.3", "30000/1001", "0.5", "240"] {
        numbered(
            folder,
            0,
            60,
            &format!(",settb=AVTB,setpts=N/({rate})/TB"),
            &["-r", rate, "-c:v", "libx264", "odd.mp4"],
        );
        for film in
            copied(folder, "odd.mp4", &["odd.mkv", "odd.ts"]).into_iter().chain([folder.join("odd.mp4")])
        {
            gives_in_silence(&film, 0.0, 3, &[0, 3, 6, 9, 12, 15, 18, 21]);
        }
    }
}

#[test]
fn uneven_animations_are_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let late = ",setpts=(N+if(gte(N\\,3)\\,4\\,0))/25/TB";
    let webp = ["-fps_mode", "vfr", "-c:v", "libwebp_anim", "-lossless", "1", "-pix_fmt", "bgra", "a.webp"];
    numbered(folder, 0, 12, late, &webp);
    numbered(folder, 0, 12, late, &["-fps_mode", "vfr", "-pix_fmt", "gray", "a.gif"]);
    for name in ["a.webp", "a.gif"] {
        let told = gives(&folder.join(name), 0.0, 1, &[0, 1, 2, 2, 2, 2, 2, 3, 4]);
        assert!(matches!(told[..], [Notice::Uneven { repeated: 4, dropped: 0, .. }]), "{name}: {told:?}");
    }
}

#[test]
fn interlaced_films_are_deinterlaced() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let combs = |frame: &RgbImage| -> u64 {
        let at = |x, y| i64::from(frame.get_pixel(x, y).0[0]);
        // How much rows differ from both of their neighbours alike, within the bar's height.
        let comb = |x, y| ((at(x, y) - at(x, y - 1)).min(at(x, y) - at(x, y + 1))).max(0).unsigned_abs();
        (0..64).flat_map(|x| (20..44).map(move |y| (x, y))).map(|(x, y)| comb(x, y)).sum()
    };
    for (name, codec) in
        [("i.mp4", "libx264"), ("i.ts", "libx264"), ("i.mpg", "mpeg2video"), ("i.mxf", "mpeg2video")]
    {
        let arguments = ["-f", "lavfi", "-i", FIELDS, "-c:v", codec, "-flags", "+ildct+ilme", "-b:v", "4M"];
        make(folder, &[&arguments[..], &["-pix_fmt", "yuv420p", name]].concat());
        let clip = read(&folder.join(name), 0.2, 8, 1).unwrap();
        assert_eq!(clip.notices, [Notice::Deinterlaced], "{name}");
        assert!((clip.source_fps - 25.0).abs() < 1e-9, "{name}: {}", clip.source_fps);
        let most = clip.frames.iter().map(combs).max().unwrap();
        assert!(most < 3000, "{name}: {most}");
    }
    // One whose frames do not say it, but the file.
    make(folder, &["-f", "lavfi", "-i", FIELDS, "-c:v", "huffyuv", "-pix_fmt", "yuv422p", "i.mkv"]);
    let clip = read(&folder.join("i.mkv"), 0.2, 8, 1).unwrap();
    assert_eq!(clip.notices, [Notice::Deinterlaced]);
    assert!(clip.frames.iter().map(combs).max().unwrap() < 3000);
    // One that begins as progressive, and is of another size then.
    numbered(folder, 0, 50, "", &["-c:v", "mpeg2video", "-q:v", "2", "p.ts"]);
    let more = FIELDS.replace("s=64x64", "s=128x128");
    make(
        folder,
        &["-f", "lavfi", "-i", &more, "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2", "i.ts"],
    );
    let both = ["p.ts", "i.ts"].map(|name| std::fs::read(folder.join(name)).unwrap()).concat();
    std::fs::write(folder.join("pi.ts"), both).unwrap();
    let told = read(&folder.join("pi.ts"), 1.6, 20, 1).unwrap().notices;
    assert!(told.contains(&Notice::Deinterlaced), "{told:?}");
    assert!(!gives(&folder.join("pi.ts"), 0.0, 1, &[0, 1, 2, 3]).contains(&Notice::Deinterlaced));
}

/// Means of red, green and blue over all frames.
fn means(clip: &Clip) -> [f64; 3] {
    [0, 1, 2].map(|channel| {
        let values =
            clip.frames.iter().flat_map(|frame| frame.pixels().map(move |pixel| f64::from(pixel.0[channel])));
        values.sum::<f64>() / (clip.frames.len() * 64 * 64) as f64
    })
}

#[test]
fn hdr_is_tone_mapped() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let car = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/clips/car-arc.mp4");
    let plain = read(&car, 0.0, 4, 4).unwrap();
    assert_eq!(plain.notices, []);
    for (transfer, name, tags) in [
        ("smpte2084", "PQ", "colorprim=bt2020:colormatrix=bt2020nc:transfer=smpte2084"),
        ("arib-std-b67", "HLG", "colorprim=bt2020:colormatrix=bt2020nc:transfer=arib-std-b67"),
        // Nothing but the transfer function is noted down.
        ("smpte2084", "PQ", "transfer=smpte2084"),
    ] {
        let to_hdr = format!(
            "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,\
             zscale=t=linear:npl=203,format=gbrpf32le,\
             zscale=p=bt2020:t={transfer}:m=bt2020nc:r=tv:npl=203,format=yuv420p10le,\
             setparams=color_primaries=unknown:color_trc=unknown:colorspace=unknown"
        );
        let parameters = format!("log-level=error:{tags}");
        let encoder = ["-c:v", "libx265", "-x265-params", &parameters, "hdr.mp4"];
        make(folder, &[&["-i", car.to_str().unwrap(), "-vf", &to_hdr][..], &encoder].concat());
        let clip = read(&folder.join("hdr.mp4"), 0.0, 4, 4).unwrap();
        assert_eq!(clip.notices, [Notice::ToneMapped { transfer: name }], "{tags}");
        for (found, expected) in means(&clip).iter().zip(means(&plain)) {
            assert!((found - expected).abs() < 4.0, "{tags}: {found}, {expected}");
        }
    }
}

#[test]
fn transparent_films_lie_on_black() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    for (name, codec, colour) in [
        ("a.webm", &["-c:v", "libvpx-vp9"][..], "white@0.0"),
        ("b.webm", &["-c:v", "libvpx", "-auto-alt-ref", "0"], "white@0.0"),
        ("a.mkv", &["-c:v", "ffv1"], "white@0.0"),
        ("a.mov", &["-c:v", "qtrle", "-pix_fmt", "argb"], "white@0.0"),
    ] {
        let colour = format!("color={colour}:s=64x64:r=8:d=1,format=yuva420p");
        make(folder, &[&["-f", "lavfi", "-i", &colour, "-pix_fmt", "yuva420p"], codec, &[name]].concat());
        let clip = read(&folder.join(name), 0.0, 3, 1).unwrap();
        assert_eq!(clip.notices, [Notice::OverBlack], "{name}");
        assert!(means(&clip).iter().all(|mean| *mean < 1.0), "{name}: {:?}", means(&clip));
    }
    let white = "color=white:s=64x64:r=8:d=1,format=yuva420p";
    make(folder, &["-f", "lavfi", "-i", white, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "o.webm"]);
    assert_eq!(read(&folder.join("o.webm"), 0.0, 3, 1).unwrap().notices, [], "it is opaque");
}

#[test]
fn names_are_names_and_no_patterns() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("%02d")).unwrap();
    let red = "color=red:s=64x64:r=8:d=1";
    make(folder, &["-f", "lavfi", "-i", red, "-f", "apng", "a.png"]);
    make(folder, &["-f", "lavfi", "-i", red, "a.gif"]);
    make(folder, &["-f", "lavfi", "-i", red, "-c:v", "ffv1", "a.mkv"]);
    for index in 0..8 {
        make(
            folder,
            &["-f", "lavfi", "-i", "color=blue:s=64x64", "-frames:v", "1", &format!("x{index:03}.png")],
        );
    }
    for (from, name) in [
        ("a.png", "x%03d.png"),
        ("a.mkv", "x%3d.png"),
        ("a.mkv", "x%03d.jpg"),
        ("a.gif", "x%*.png"),
        ("a.png", "x%%.png"),
        ("a.gif", "%02d/a.gif"),
        ("a.mkv", "%02d/a 100%.bmp"),
    ] {
        std::fs::copy(folder.join(from), folder.join(name)).unwrap();
        let clip = read(&folder.join(name), 0.0, 4, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [red, _, blue] = means(&clip);
        assert!(red > 200.0 && blue < 50.0, "{name}: {red}, {blue}");
        std::fs::remove_file(folder.join(name)).unwrap();
    }
}

#[test]
fn the_stream_that_is_shown_is_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 40, "", &["-c:v", "libx264", "a.mp4"]);
    make(folder, &["-f", "lavfi", "-i", "color=white:s=32x32:r=10:d=2", "-c:v", "libx264", "white.mp4"]);
    make(folder, &["-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", "cover.jpg"]);
    let two = ["-i", "white.mp4", "-i", "a.mp4", "-map", "0", "-map", "1", "-c", "copy"];
    make(folder, &[&two[..], &["-disposition:v:0", "0", "-disposition:v:1", "default", "two.mkv"]].concat());
    make(
        folder,
        &[&two[..], &["-disposition:v:0", "default", "-disposition:v:1", "0", "first.mkv"]].concat(),
    );
    let cover = ["-i", "cover.jpg", "-i", "a.mp4", "-map", "0", "-map", "1", "-c", "copy"];
    make(folder, &[&cover[..], &["-disposition:v:0", "attached_pic", "cover.mp4"]].concat());
    gives_in_silence(&folder.join("two.mkv"), 0.2, 1, &[5, 6, 7]);
    gives_in_silence(&folder.join("cover.mp4"), 0.2, 1, &[5, 6, 7]);
    let first = read(&folder.join("first.mkv"), 0.0, 4, 1).unwrap();
    assert_eq!((first.source_width, first.source_fps.round() as u32), (32, 10));
}

#[test]
fn pictures_one_behind_the_other_are_a_film() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 30, "", &["-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "2", "a.mjpeg"]);
    std::fs::copy(folder.join("a.mjpeg"), folder.join("b%03d.jpg")).unwrap();
    for name in ["a.mjpeg", "b%03d.jpg"] {
        gives_in_silence(&folder.join(name), 0.2, 4, &[5, 9, 13]);
    }
    make(folder, &["-i", "a.mjpeg", "-c:v", "png", "-f", "image2pipe", "a.png"]);
    gives_in_silence(&folder.join("a.png"), 0.2, 4, &[5, 9, 13]);
    make(folder, &["-i", "a.mjpeg", "-frames:v", "1", "-update", "1", "one.jpg"]);
    let one = read(&folder.join("one.jpg"), 0.0, 2, 1).unwrap_err().to_string();
    assert!(one.contains("it has 1 frame "), "{one}");
}

#[test]
fn a_rate_that_is_too_high_is_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    for (rate, name) in [("2000", "a.mp4"), ("5000", "a.mov"), ("1200", "a.nut")] {
        let source = format!("testsrc2=s=64x64:r={rate}:d=0.05");
        make(folder, &["-f", "lavfi", "-i", &source, "-c:v", "libx264", name]);
        let error = read(&folder.join(name), 0.0, 4, 1).unwrap_err();
        assert!(matches!(error, Error::RateTooHigh { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{rate} frames per second")), "{error}");
    }
}

#[test]
fn damage_is_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let noise = ",noise=alls=20:allf=t";
    let groups = "keyint=16:min-keyint=16:scenecut=0";
    numbered(folder, 0, 100, noise, &["-c:v", "libx264", "-x264-params", groups, "a.mp4"]);
    gives_in_silence(&folder.join("a.mp4"), 0.0, 20, &[0, 20, 40, 60, 80]);
    let whole = std::fs::read(folder.join("a.mp4")).unwrap();
    let content = whole.windows(4).position(|name| name == b"mdat").unwrap();
    let index = whole.windows(4).position(|name| name == b"moov").unwrap();
    let broken = |name: &str, from: usize, count: usize| {
        let mut bytes = whole.clone();
        for (place, byte) in bytes[from..from + count].iter_mut().enumerate() {
            *byte = (place * 151 + 89) as u8;
        }
        std::fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    };
    for (name, from, count, every) in [
        ("front.mp4", content + 1500, 400, 1),
        ("middle.mp4", whole.len() / 2, 300, 20),
        ("more.mp4", whole.len() / 3, 2000, 1),
    ] {
        let frames = if every == 1 { 60 } else { 5 };
        let told = read(&broken(name, from, count), 0.0, frames, every).unwrap().notices;
        assert!(told.iter().any(|notice| matches!(notice, Notice::Damaged { .. })), "{name}: {told:?}");
    }
    // The first key frame is lost, and all that leans on it.
    let told = gives(&broken("late.mp4", content + 4, 4000), 0.0, 1, &[16, 17, 18, 19]);
    assert_eq!(told[0], Notice::BeginsLate { frames: 16 });
    std::fs::write(folder.join("cut.mp4"), &whole[..index - 4]).unwrap();
    let message = read(&folder.join("cut.mp4"), 0.0, 4, 1).unwrap_err().to_string();
    assert!(message.contains("not a video: moov atom not found"), "{message}");
    // Cut between two key frames, as recordings of broadcasts are.
    make(folder, &["-i", "a.mp4", "-c", "copy", "a.ts"]);
    let stream = std::fs::read(folder.join("a.ts")).unwrap();
    std::fs::write(folder.join("cut.ts"), &stream[188 * 60..]).unwrap();
    let cut = read(&folder.join("cut.ts"), 0.0, 3, 1).unwrap();
    let numbers: Vec<usize> = cut.frames.iter().map(number_of).collect();
    assert!(numbers[0] > 0 && numbers[0].is_multiple_of(16), "{numbers:?}");
    assert_eq!(numbers[1..], [numbers[0] + 1, numbers[0] + 2]);
    assert!(matches!(cut.notices[0], Notice::BeginsLate { .. }), "{:?}", cut.notices);
}

#[test]
fn damage_is_told_wherever_reading_begins() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 120, "", &["-c:v", "libx264", "-x264-params", "keyint=12", "-crf", "5", "a.mkv"]);
    let mut bytes = std::fs::read(folder.join("a.mkv")).unwrap();
    let at = bytes.len() * 49 / 100;
    for (index, byte) in bytes[at..at + 300].iter_mut().enumerate() {
        *byte = (index * 151 + 89) as u8;
    }
    let film = folder.join("damaged.mkv");
    std::fs::write(&film, bytes).unwrap();
    for start in [0.0, 1.4, 1.9, 2.0, 2.2] {
        let clip = read(&film, start, 60, 1).unwrap();
        let is_told = clip.notices.iter().any(|notice| matches!(notice, Notice::Damaged { .. }));
        assert!(is_told, "from {start}: {:?}", clip.notices);
    }
}
