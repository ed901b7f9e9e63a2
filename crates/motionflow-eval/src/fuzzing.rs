//! Entry points for fuzzing, as [`motionflow::fuzzing`] has them.

use motionflow::fuzzing::{config, or_told};

use crate::clip::pictures::{Preprocessor, PreprocessorConfig};

/// A JSON file of a checkpoint; the first byte says which. Only a preprocessor's config is read here.
pub fn configs(data: &[u8]) {
    let Some((b'p', text)) = data.split_first() else { return };
    let Some(preprocessor) = config::<PreprocessorConfig>(text) else { return };
    if let Some(preprocessor) = or_told(Preprocessor::new(&preprocessor, 8)) {
        assert_eq!(preprocessor.picture(&[7; 3 * 5 * 2], 5, 2).size(), [3, 8, 8]);
    }
}
