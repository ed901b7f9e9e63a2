#![no_main]
motionflow_fuzz::target!(configs);
