#![no_main]
motionflow_fuzz::target!(safetensors);
