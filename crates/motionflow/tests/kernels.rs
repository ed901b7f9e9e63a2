//! The kernels' interface against libtorch's own operations in float32, forward and gradient, on random shapes: on the
//! CPU always, and with the kernels themselves on a CUDA device where there is one.

use motionflow::device::cuda_devices;
use motionflow::kernels::{self, Convolution, Norm, Scaling};
use motionflow::nets::attention::{scaled_dot_product_attention, self_attention};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

/// The places and types of numbers to try.
fn everywhere() -> Vec<(Device, Kind)> {
    let mut all = vec![(Device::Cpu, Kind::Float)];
    if cuda_devices().is_ok() {
        assert_eq!(kernels::problem(Device::Cuda(0)), None);
        all.extend([Kind::Float, Kind::Half, Kind::BFloat16].map(|kind| (Device::Cuda(0), kind)));
    }
    all
}

fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::Half => 2e-3,
        Kind::BFloat16 => 1.2e-2,
        _ => 1e-5,
    }
}

/// Random numbers that float16 and bfloat16 have, too.
fn random(shape: &[i64], seed: i64) -> Tensor {
    // libtorch remembers at its first question whether it has CUDA, so its library is opened before.
    let _ = cuda_devices();
    tch::manual_seed(seed);
    (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 16.0).round() / 16.0
}

/// Channels-last, as the nets have it on CUDA.
fn laid_out(x: &Tensor) -> Tensor {
    match x.dim() {
        4 => x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
        5 => x.permute([0, 2, 3, 4, 1]).contiguous().permute([0, 4, 1, 2, 3]),
        _ => x.contiguous(),
    }
}

fn leaf(x: &Tensor, device: Device, kind: Kind) -> Tensor {
    laid_out(&x.to_device(device).to_kind(kind)).detach().set_requires_grad(true)
}

/// Compares a function with its meaning in float32: its value without and with a graph, and the gradient of a random
/// projection of it with respect to each of `inputs`.
fn compare(
    what: &str,
    inputs: &[Tensor],
    constants: &[Tensor],
    ours: impl Fn(&[Tensor], &[Tensor]) -> Tensor,
    meant: impl Fn(&[Tensor], &[Tensor]) -> Tensor,
) {
    for (device, kind) in everywhere() {
        let here = |tensors: &[Tensor]| -> Vec<Tensor> {
            tensors.iter().map(|c| c.to_device(device).to_kind(kind)).collect()
        };
        let constants_here = here(constants);
        let x: Vec<Tensor> = inputs.iter().map(|x| leaf(x, device, kind)).collect();
        let plain = {
            let _no_gradients = tch::no_grad_guard();
            ours(&x, &constants_here)
        };
        let y = ours(&x, &constants_here);
        let projection = random(&y.size(), 99);
        let at = projection.to_device(device).to_kind(kind);
        let gradients = Tensor::run_backward(&[(&y * at).sum(Kind::Float)], &x, false, false);

        let exact: Vec<Tensor> = inputs.iter().map(|x| leaf(x, Device::Cpu, Kind::Double)).collect();
        let constants: Vec<Tensor> = constants.iter().map(|c| c.to_kind(Kind::Double)).collect();
        let expected = meant(&exact, &constants);
        let loss = (&expected * projection.to_kind(Kind::Double)).sum(Kind::Double);
        let expected_gradients = Tensor::run_backward(&[loss], &exact, false, false);

        near(&format!("{what} {device:?} {kind:?}"), &y, &expected, kind);
        near(&format!("{what} {device:?} {kind:?} without a graph"), &plain, &expected, kind);
        for (index, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            near(&format!("gradient {index} of {what} {device:?} {kind:?}"), found, expected, kind);
        }
    }
}

fn near(what: &str, found: &Tensor, expected: &Tensor, kind: Kind) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let found = found.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let off = (found - expected.detach()).norm().double_value(&[]);
    let size = expected.norm().double_value(&[]).max(1e-3);
    // Not `>`: a NaN must fail, too.
    assert!(off <= tolerance(kind) * size, "{what}: off by {} of {size}", off / size);
}

fn norm(constants: &[Tensor], groups: i64) -> Norm<'_> {
    Norm { weight: &constants[0], bias: &constants[1], groups, epsilon: 1e-5 }
}

fn group_norm_as_meant(x: &Tensor, c: &[Tensor], groups: i64, silu: bool) -> Tensor {
    let mut shape = vec![1; x.dim()];
    shape[1] = -1;
    let shifted = x + c[2].view(shape.as_slice());
    let y = shifted.group_norm(groups, Some(&c[0]), Some(&c[1]), 1e-5, false);
    if silu { y.silu() } else { y }
}

// A norm over two or three values is nearly constant: its gradient is rounding, and says nothing. So sizes begin at 8.
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn group_norm(
        images in 1i64..4, groups in 1i64..5, size in 1i64..30, height in 1i64..12, width in 1i64..12, silu: bool
    ) {
        let channels = groups * size;
        // A group of one value has no variance, and its gradient is all rounding.
        prop_assume!(size * height * width > 4);
        let constants = [&[channels][..]; 3].map(|shape| random(shape, 1));
        compare(
            "group norm",
            &[random(&[images, channels, height, width], 2)],
            &constants,
            |x, c| kernels::group_norm(&x[0], Some(&c[2]), &norm(c, groups), silu),
            |x, c| group_norm_as_meant(&x[0], c, groups, silu),
        );
    }

    #[test]
    fn group_norm_of_a_video_places_first(
        videos in 1i64..3, frames in 1i64..6, groups in 1i64..5, size in 1i64..20, height in 2i64..7, width in 2i64..7
    ) {
        let channels = groups * size;
        let constants = [random(&[channels], 1), random(&[channels], 2), Tensor::zeros([channels], (Kind::Float, Device::Cpu))];
        compare(
            "group norm of a video",
            &[random(&[videos, channels, frames, height, width], 2)],
            &constants,
            |x, c| kernels::group_norm_places_first(&x[0], &norm(c, groups)),
            |x, c| {
                let y = group_norm_as_meant(&x[0], c, groups, false);
                y.permute([0, 3, 4, 2, 1]).reshape([videos * height * width, frames, channels])
            },
        );
    }

    #[test]
    fn norm_silu_and_convolution(
        images in 1i64..3, groups in 1i64..5, size in 1i64..9, output in 1i64..20, height in 2i64..9, width in 2i64..9
    ) {
        let input = groups * size;
        let mut constants = [&[input][..]; 3].map(|shape| random(shape, 1)).into_iter().collect::<Vec<_>>();
        constants.push(random(&[output, input, 3, 3], 3));
        compare(
            "norm, SiLU and convolution",
            &[random(&[images, input, height, width], 2)],
            &constants,
            |x, c| {
                let weight = laid_out(&c[3]);
                let convolution = Convolution { weight: &weight, stride: 1, padding: 1 };
                kernels::norm_silu_convolution(&x[0], Some(&c[2]), &norm(c, groups), &convolution)
            },
            |x, c| group_norm_as_meant(&x[0], c, groups, true).conv2d(&c[3], None::<&Tensor>, 1, 1, 1, 1),
        );
    }

    #[test]
    fn norm_silu_and_convolution_over_time(
        videos in 1i64..3, frames in 1i64..6, groups in 1i64..4, size in 1i64..9, side in 2i64..5
    ) {
        let channels = groups * size;
        let mut constants = [&[channels][..]; 3].map(|shape| random(shape, 1)).into_iter().collect::<Vec<_>>();
        constants.push(random(&[channels, channels, 3, 1, 1], 3));
        compare(
            "norm, SiLU and convolution over time",
            &[random(&[videos, channels, frames, side, side], 2)],
            &constants,
            |x, c| {
                let weight = laid_out(&c[3]);
                let convolution = Convolution { weight: &weight, stride: 1, padding: 1 };
                kernels::norm_silu_convolution(&x[0], Some(&c[2]), &norm(c, groups), &convolution)
            },
            |x, c| {
                let y = group_norm_as_meant(&x[0], c, groups, true);
                y.conv3d(&c[3], None::<&Tensor>, [1, 1, 1], [1, 0, 0], [1, 1, 1], 1)
            },
        );
    }

    #[test]
    fn sums(images in 1i64..4, frames in 1i64..6, channels in 1i64..70, height in 1i64..7, width in 1i64..7) {
        let shape = [images * frames, channels, height, width];
        compare(
            "sum",
            &[random(&shape, 1), random(&shape, 2)],
            &[random(&[channels], 3)],
            |x, c| kernels::add(&x[0], Some(&c[0]), &x[1]),
            |x, c| &x[0] + c[0].view([1, -1, 1, 1]) + &x[1],
        );
        compare(
            "sum of what lies places first",
            &[random(&[images * height * width, frames, channels], 1), random(&shape, 2)],
            &[],
            |x, _| kernels::add_places_first(&x[0], &x[1]),
            |x, _| {
                let video = x[0].view([images, height, width, frames, channels]).permute([0, 3, 4, 1, 2]);
                video.reshape(shape) + &x[1]
            },
        );
    }

    #[test]
    fn layer_norm(rows in 1i64..40, size in prop_oneof![8i64..80, Just(320), Just(1280), Just(2047), Just(2048), Just(3000)]) {
        let constants = [random(&[size], 1), random(&[size], 2), random(&[1, rows, size], 5)];
        let x = [random(&[2, rows, size], 3), random(&[2, rows, size], 4)];
        compare(
            "layer norm",
            &x[..1],
            &constants,
            |x, c| kernels::layer_norm(&x[0], &c[0], &c[1], 1e-5, None),
            |x, c| x[0].layer_norm([size], Some(&c[0]), Some(&c[1]), 1e-5, false),
        );
        compare(
            "sum and its layer norm",
            &x,
            &constants,
            |x, c| {
                let (sum, normed) = kernels::add_layer_norm(&x[0], &x[1], &c[0], &c[1], 1e-5, Some(&c[2]));
                let alone = kernels::layer_norm(&x[0], &c[0], &c[1], 1e-5, Some(&c[2]));
                sum * 3.0 + normed + alone
            },
            |x, c| {
                let sum = &x[0] + &x[1];
                let positioned = |x: &Tensor| x.layer_norm([size], Some(&c[0]), Some(&c[1]), 1e-5, false) + &c[2];
                &sum * 3.0 + positioned(&sum) + positioned(&x[0])
            },
        );
    }

    #[test]
    fn scaled_norms_behind_gated_sums(
        rows in 1i64..20, size in prop_oneof![8i64..80, Just(1536), Just(2050), Just(5120), Just(9000)]
    ) {
        let constants = [1, 2, 3].map(|seed| random(&[size], seed));
        let x = [random(&[1, rows, size], 4), random(&[1, rows, size], 5)];
        let wide = |c: &Tensor| if c.kind() == Kind::Double { c.shallow_clone() } else { c.to_kind(Kind::Float) };
        for affine in [true, false] {
            let scaling = |c: [&Tensor; 2], compute: &dyn Fn(Scaling) -> Tensor| {
                let [factor, shift] = c.map(wide);
                let both = [&factor, &shift];
                compute(if affine { Scaling::Affine(both) } else { Scaling::Modulated(both) })
            };
            let normed = |x: &Tensor, c: &[Tensor]| {
                x.layer_norm([size], None::<&Tensor>, None::<&Tensor>, 1e-6, false) * &c[0] + &c[1]
            };
            compare(
                "scaled norm",
                &x[..1],
                &constants,
                |x, c| scaling([&c[0], &c[1]], &|scaling| kernels::scaled_norm(&x[0], scaling, 1e-6)),
                |x, c| normed(&x[0], c),
            );
            for gated in [true, false] {
                compare(
                    "gated sum and its scaled norm",
                    &x,
                    &constants,
                    |x, c| scaling([&c[0], &c[1]], &|scaling| {
                        let gate = wide(&c[2]);
                        let gate = gated.then_some(&gate);
                        let (sum, normed) = kernels::gated_add_scaled_norm(&x[0], gate, &x[1], scaling, 1e-6);
                        sum * 3.0 + normed
                    }),
                    |x, c| {
                        let sum = if gated { &x[0] * &c[2] + &x[1] } else { &x[0] + &x[1] };
                        &sum * 3.0 + normed(&sum, c)
                    },
                );
            }
        }
        compare(
            "gated sum",
            &x,
            &constants[..1],
            |x, c| kernels::gated_add(&x[0], &wide(&c[0]), &x[1]),
            |x, c| &x[0] * &c[0] + &x[1],
        );
    }

    #[test]
    fn rms_norms_that_turn(
        rows in 1i64..20, heads in 1i64..5, half in prop_oneof![1i64..9, Just(64), Just(512)], turns: bool
    ) {
        let channels = heads * 2 * half;
        let constants = [random(&[channels], 1), random(&[rows, 1, half], 2), random(&[rows, 1, half], 3)];
        compare(
            "RMS norm",
            &[random(&[1, rows, channels], 4)],
            &constants,
            |x, c| {
                let [cosines, sines] = [&c[1], &c[2]].map(|c| c.to_kind(Kind::Float));
                kernels::rms_norm(&x[0], &c[0], turns.then_some([&cosines, &sines]), 1e-6)
            },
            |x, c| {
                let mean = x[0].square().mean_dim(-1, true, None);
                let normed = &x[0] * (mean + 1e-6).rsqrt() * &c[0];
                if !turns {
                    return normed;
                }
                let pairs = normed.view([1, rows, heads, half, 2]);
                let (a, b) = (pairs.select(-1, 0), pairs.select(-1, 1));
                let turned = [&a * &c[1] - &b * &c[2], &a * &c[2] + &b * &c[1]];
                Tensor::stack(&turned, -1).view([1, rows, channels])
            },
        );
    }

    #[test]
    fn linear_layers_with_gelu(rows in 1i64..40, input in 1i64..30, output in 1i64..60) {
        compare(
            "linear layer with GELU",
            &[random(&[2, rows, input], 1)],
            &[random(&[output, input], 2) / 8.0, random(&[output], 3)],
            |x, c| kernels::linear_gelu(&x[0], &c[0], &c[1]),
            |x, c| x[0].linear(&c[0], Some(&c[1])).gelu("tanh"),
        );
    }

    #[test]
    fn gated_gelu(rows in 1i64..50, inner in 1i64..90) {
        compare(
            "GEGLU",
            &[random(&[2, rows, 2 * inner], 1)],
            &[],
            |x, _| kernels::geglu(&x[0]),
            |x, _| {
                let halves = x[0].chunk(2, -1);
                &halves[0] * halves[1].gelu("none")
            },
        );
    }

    #[test]
    fn attention_over_short_sequences(batch in 1i64..6, heads in 1i64..4, tokens in 1i64..34, head_dim in prop_oneof![Just(64i64), Just(40), Just(80), Just(160), Just(8), Just(6)]) {
        let channels = heads * head_dim;
        compare(
            "attention",
            &[random(&[batch, tokens, 3 * channels], 1)],
            &[],
            |x, _| self_attention(&x[0], heads),
            |x, _| attended(&x[0], heads),
        );
    }

    #[test]
    fn attention_to_a_text(batch in 1i64..4, heads in 1i64..4, tokens in 65i64..200, keys in 1i64..90, head_dim in prop_oneof![Just(64i64), Just(40)]) {
        compare(
            "attention to a text",
            &[random(&[batch, heads, tokens, head_dim], 1)],
            &[random(&[batch, heads, keys, head_dim], 2), random(&[batch, heads, keys, head_dim], 3)],
            |x, c| scaled_dot_product_attention(&x[0], &c[0], &c[1]),
            |x, c| plain_attention(&x[0], &c[0], &c[1]),
        );
    }

    #[test]
    fn enlargement(images in 1i64..4, channels in 1i64..20, height in 1i64..7, width in 1i64..7, odd: bool) {
        let to = [2 * height - i64::from(odd), 2 * width];
        compare(
            "enlargement",
            &[random(&[images, channels, height, width], 1)],
            &[],
            |x, _| kernels::enlarge(&x[0], to),
            |x, _| x[0].upsample_nearest2d(to, None, None),
        );
    }
}

fn plain_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let scale = (q.size()[3] as f64).powf(-0.5);
    (q.matmul(&k.transpose(-1, -2)) * scale).softmax(-1, None).matmul(v)
}

/// [batch, tokens, 3·channels] -> [batch, tokens, channels]
fn attended(x: &Tensor, heads: i64) -> Tensor {
    let size = x.size();
    let parts = x.view([size[0], size[1], 3, heads, -1]).unbind(2);
    let [q, k, v] = [0, 1, 2].map(|index| parts[index].transpose(1, 2));
    plain_attention(&q, &k, &v).transpose(1, 2).reshape([size[0], size[1], size[2] / 3])
}
