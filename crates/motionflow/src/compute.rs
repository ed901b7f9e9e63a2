//! On what a model computes, as what, and how much memory it may take for it.

use std::fmt;
use std::str::FromStr;

use tch::{Device, Kind};

/// The numbers that the nets compute with, as a user names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// On a CUDA device what suits the checkpoint, float16 where that is not known; float32 on the CPU.
    #[default]
    Auto,
    /// float32
    F32,
    /// float16
    F16,
    /// bfloat16
    Bf16,
}

impl Precision {
    /// The name of a kind that nets compute with.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Half => Self::F16,
            Kind::BFloat16 => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// What it stands for on a device.
    pub fn kind(self, device: Device) -> Kind {
        match self {
            Self::Auto if matches!(device, Device::Cuda(_)) => Kind::Half,
            Self::Auto | Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err("must be auto, f32, f16 or bf16".to_owned()),
        }
    }
}

/// How much memory a model may take to be faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryUse {
    /// As little as can be.
    Low,
    /// What is cheap to spare is spared.
    #[default]
    Balanced,
    /// What it takes.
    Fast,
}

impl fmt::Display for MemoryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        })
    }
}

impl FromStr for MemoryUse {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "low" => Ok(Self::Low),
            "balanced" => Ok(Self::Balanced),
            "fast" => Ok(Self::Fast),
            _ => Err("must be low, balanced or fast".to_owned()),
        }
    }
}

/// How a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// Where its weights are.
    pub device: Device,
    /// What its nets compute with. Latents and maps are float32 between them.
    pub kind: Kind,
    /// How much memory it may take.
    pub memory: MemoryUse,
}

impl Compute {
    /// float32, by which everything else is measured.
    pub fn exact(device: Device) -> Self {
        Self { device, kind: Kind::Float, memory: MemoryUse::default() }
    }

    /// Whether weights of large nets stay in the host's memory, and come to the device as they are needed.
    pub fn streams_weights(&self) -> bool {
        self.memory == MemoryUse::Low && self.device.is_cuda()
    }

    /// What its nets compute with, by the name that a user gives it.
    pub fn precision(&self) -> Precision {
        Precision::of(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "f32", "f16", "bf16"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        for name in ["low", "balanced", "fast"] {
            assert_eq!(name.parse::<MemoryUse>().unwrap().to_string(), name);
        }
        assert!("half".parse::<Precision>().is_err() && "high".parse::<MemoryUse>().is_err());
    }

    #[test]
    fn a_gpu_computes_in_half_precision_unless_told_otherwise() {
        assert_eq!(Precision::Auto.kind(Device::Cuda(0)), Kind::Half);
        assert_eq!(Precision::Auto.kind(Device::Cpu), Kind::Float);
        assert_eq!(Precision::F32.kind(Device::Cuda(0)), Kind::Float);
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            let kind = precision.kind(Device::Cpu);
            assert_eq!(Compute { kind, ..Compute::exact(Device::Cpu) }.precision(), precision);
        }
    }
}
