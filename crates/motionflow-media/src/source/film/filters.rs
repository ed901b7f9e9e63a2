//! The filters that frames of a film go through.

use super::showinfo::{Colours, Place, filter};
use crate::error::Result;
use crate::ffmpeg::Ffmpeg;

/// Square pixels, then 8-bit RGBA, with chroma upsampled well. ffmpeg turns the picture upright before.
const UPRIGHT_RGBA: &str = "scale=w=round(iw*sar):h=ih:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,setsar=1,format=rgba";

/// Tone mapping: light in units of SDR's white, 203 cd/m² ([BT.2408](https://www.itu.int/pub/R-REP-BT.2408)); what is
/// darker than 0.7 of it stays as it is, and what is brighter, up to five times it, is brought below it.
const TONE_MAP: &str = "zscale=transfer=linear:npl=203,format=gbrpf32le,zscale=primaries=bt709,\
                        tonemap=tonemap=mobius:param=0.7:peak=5:desat=0,\
                        zscale=transfer=bt709:matrix=gbr:range=pc,format=gbrp";

/// The filters for the size of a picture alone. `first_field` as in [`Filters`].
pub(super) fn for_size(first_field: Option<&'static str>) -> String {
    Filters { first_field, ..Filters::default() }.chain()
}

/// What is done to frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filters {
    /// The field that is shown first, for interlaced frames that do not say it.
    pub(super) first_field: Option<&'static str>,
    /// The deinterlacer, if there is anything to deinterlace.
    pub(super) deinterlacer: Option<&'static str>,
    /// Whether the filters stay as they are when frames change their size or format within the film.
    pub(super) stay: bool,
    /// A condition of ffmpeg's filter `select`.
    pub(super) condition: Option<String>,
    /// The filters that bring HDR to SDR.
    pub(super) tone_map: Option<String>,
}

impl Filters {
    /// All of them, as ffmpeg takes them.
    pub(super) fn chain(&self) -> String {
        let mut filters = Vec::new();
        filters.extend(self.first_field.map(|field| format!("setfield={field}")));
        filters.push(filter(Place::In).to_owned());
        if let Some(deinterlacer) = self.deinterlacer {
            if self.stay {
                // The size and format of the first frame for all; the shape of the pixels makes up for it.
                filters.push("scale=interl=-1".into());
            }
            filters.push(format!("{deinterlacer}=mode=send_frame:deint=interlaced"));
        }
        filters.extend(self.condition.as_ref().map(|condition| format!("select='{condition}'")));
        filters.extend(self.tone_map.clone());
        filters.push(if self.stay {
            UPRIGHT_RGBA.replacen("h=ih", "h=ih:eval=frame", 1)
        } else {
            UPRIGHT_RGBA.into()
        });
        filters.push(filter(Place::Out).into());
        filters.join(",")
    }
}

/// The filters that bring frames of such colours to SDR, if this ffmpeg has them.
pub(super) fn tone_map(ffmpeg: &Ffmpeg, colours: &Colours) -> Result<Option<String>> {
    if !ffmpeg.has_filters(&["zscale", "tonemap", "setparams"])? {
        return Ok(None);
    }
    let is_unknown = |name: &str| matches!(name, "" | "unknown" | "reserved");
    let mut known = Vec::new();
    if is_unknown(&colours.primaries) {
        known.push("color_primaries=bt2020");
    }
    if is_unknown(&colours.matrix) {
        known.push("colorspace=bt2020nc");
    }
    let set = if known.is_empty() { String::new() } else { format!("setparams={},", known.join(":")) };
    Ok(Some(format!("{set}{TONE_MAP}")))
}

/// The best deinterlacer that this ffmpeg has.
pub(super) fn deinterlacer(ffmpeg: &Ffmpeg) -> Result<Option<&'static str>> {
    for name in ["bwdif", "yadif"] {
        if ffmpeg.has_filters(&[name])? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_films_are_only_made_upright() {
        let chain = [filter(Place::In), UPRIGHT_RGBA, filter(Place::Out)].join(",");
        assert_eq!(for_size(None), chain);
        assert_eq!(for_size(Some("tff")), format!("setfield=tff,{chain}"));
    }

    #[test]
    fn filters_stand_in_order() {
        let filters = Filters {
            first_field: Some("bff"),
            deinterlacer: Some("bwdif"),
            stay: true,
            condition: Some("gte(t,1)".into()),
            tone_map: Some(TONE_MAP.into()),
        };
        let chain = filters.chain();
        let places: Vec<usize> =
            ["setfield", "@in", "interl", "bwdif", "select", "tonemap", "round(iw", "eval=frame", "@out"]
                .iter()
                .map(|part| chain.find(part).unwrap())
                .collect();
        assert!(places.is_sorted(), "{chain}");
    }
}
