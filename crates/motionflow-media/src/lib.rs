//! Video and pictures.
