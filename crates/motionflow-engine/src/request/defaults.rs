//! The general defaults, which hold where neither a request nor a checkpoint says anything.

use motionflow::settings::Settings;
use serde_json::{Value, json};

/// The default of the setting with this key in a settings file. `None` where the setting is off or has none.
pub(crate) fn default_of(key: &str) -> Option<Value> {
    let of_method = serde_json::to_value(Settings::default()).ok()?;
    let of_video = json!({ "width": 576, "height": 320, "frames": 24, "fps": 8.0 });
    let of_cut = json!({ "start": 0, "every": 1, "fit": "crop" });
    [of_method, of_video, of_cut]
        .iter()
        .find_map(|values| values.get(key))
        .filter(|value| !value.is_null())
        .cloned()
}
