#![no_main]
motionflow_fuzz::target!(torch_file);
