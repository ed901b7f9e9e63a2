//! What a parity case compares of the nets themselves.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Wan;
use crate::error::Error;
use crate::model::{EncodedPrompt, VideoModel};
use crate::nets::attention::NoObserver;
use crate::parity_case::{ANY, CaseTensors, ParityError, ParityModel};
use crate::timestep::Timestep;

impl ParityModel for Wan {
    fn token_ids(&self, text: &str) -> Result<Vec<i64>, Error> {
        Ok(self.tokenizer.encode(text)?.ids)
    }

    fn latent_channels(&self) -> i64 {
        self.transformers.config().in_channels
    }

    /// The VAE both ways and the transformer at three timesteps.
    fn nets(
        &self,
        inputs: &CaseTensors,
        target: &EncodedPrompt,
    ) -> Result<BTreeMap<String, Tensor>, ParityError> {
        let _no_gradients = tch::no_grad_guard();
        let channels = self.latent_channels();
        let frames = inputs.input("frames", &[ANY, 3, ANY, ANY])?;
        let latent = inputs.input("latent", &[1, channels, ANY, ANY, ANY])?;
        let mut ours = BTreeMap::from([
            ("vae_mean".to_owned(), self.vae.encode(&frames)),
            ("vae_decoded".to_owned(), self.vae.decode(&latent)),
        ]);
        let sample = inputs.input("sample", &[1, channels, ANY, ANY, ANY])?;
        for timestep in [1.0, 501.0, 750.25].map(Timestep::from) {
            let prediction = self.predict_noise(&sample, timestep, &target.features, &mut NoObserver);
            ours.extend(prediction.continue_value().map(|noise| (format!("transformer_{timestep}"), noise)));
        }
        Ok(ours)
    }
}
