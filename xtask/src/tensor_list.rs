//! The lists of tensors that `random-checkpoint` writes, as they stand in `tensors.txt`.

use anyhow::{Context, Result, bail};

/// A tensor, and how its values are drawn: evenly from `centre - reach` to `centre + reach`.
pub struct Tensor {
    /// The component's folder.
    pub component: String,
    /// Its name in the file of weights.
    pub name: String,
    /// Its sides.
    pub shape: Vec<u32>,
    /// The middle of the values.
    pub centre: f64,
    /// How far they go from there.
    pub reach: f64,
}

impl Tensor {
    /// The number of its values.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }
}

/// Reads lists. A component's name in brackets stands before the lines of its layers: a layer's name, the shape of its
/// weight and, where there is more to say, one of
/// - `+bias`: it has a bias of as many values as the weight has rows;
/// - `pe`, `gamma`: that is what its one tensor is called instead of `weight`;
/// - `alone`: the name is the tensor's own.
///
/// A range in a name, as in `blocks.{0..30}.norm2`, stands for so many layers.
pub fn read(lists: &[&str]) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for list in lists {
        let mut component = "";
        for line in list.lines() {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => component = name,
                None => read_line(component, line, &mut tensors)
                    .with_context(|| format!("a line of the list: {line}"))?,
            }
        }
    }
    Ok(tensors)
}

fn read_line(component: &str, line: &str, tensors: &mut Vec<Tensor>) -> Result<()> {
    let mut words = line.split(' ');
    let (Some(layers), Some(shape)) = (words.next(), words.next()) else { bail!("a name and a shape") };
    let shape = shape.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let last = words.next();
    let parameter = match last {
        None | Some("+bias") => ".weight",
        Some("pe") => ".pe",
        Some("gamma") => ".gamma",
        Some("alone") => "",
        Some(other) => bail!("it ends in {other}"),
    };
    for layer in layers_of(layers)? {
        let (centre, reach) = match last {
            Some("pe") => (0.0, 1.0),
            Some("gamma") => NORM,
            Some("alone") => (0.0, 0.5),
            _ => weight_values(&layer, &shape),
        };
        let tensor = |parameter: &str, shape, centre, reach| Tensor {
            component: component.to_owned(),
            name: format!("{layer}{parameter}"),
            shape,
            centre,
            reach,
        };
        tensors.push(tensor(parameter, shape.clone(), centre, reach));
        if last == Some("+bias") {
            tensors.push(tensor(".bias", vec![shape[0]], 0.0, 0.02));
        }
    }
    Ok(())
}

/// The names that a name with at most one range stands for.
fn layers_of(name: &str) -> Result<Vec<String>> {
    let Some((before, rest)) = name.split_once('{') else { return Ok(vec![name.to_owned()]) };
    let (range, after) = rest.split_once('}').context("a range without an end")?;
    let (first, end) = range.split_once("..").context("a range without dots")?;
    let (first, end): (u32, u32) = (first.parse()?, end.parse()?);
    Ok((first..end).map(|index| format!("{before}{index}{after}")).collect())
}

/// Centre and reach of what a norm multiplies by.
const NORM: (f64, f64) = (1.0, 0.1);

/// Centre and reach of a layer's weight: activations stay near 1 through all nets, and attentions are peaked, so that
/// masks and losses say something.
fn weight_values(layer: &str, shape: &[u32]) -> (f64, f64) {
    let ends = |names: &[&str]| names.iter().any(|name| layer.ends_with(name));
    if shape.len() == 1 {
        // Queries and keys that a norm has brought to 1 are peaked by their norm alone.
        return if ends(&["norm_q"]) { (3.0, 0.3) } else { NORM };
    }
    let looked_up = ends(&["token_embedding", "position_embedding", "shared", "relative_attention_bias"]);
    let fan_in = if looked_up { 1 } else { shape[1..].iter().product() };
    let gain = if ends(&["to_q", "to_k", "q_proj", "k_proj"]) { 1.5 } else { 0.6 };
    // The deviation of an even spread is its reach by √3.
    (0.0, gain * (3.0 / f64::from(fan_in)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stands_for_so_many_layers() {
        let list = "[transformer]\nblocks.{1..3}.norm2 8 +bias\nblocks.{0..1}.table 1x6x8 alone\n[vae]\nnorm 4x1x1 gamma\n";
        let tensors = read(&[list]).expect("a list");
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let expected = [
            "blocks.1.norm2.weight",
            "blocks.1.norm2.bias",
            "blocks.2.norm2.weight",
            "blocks.2.norm2.bias",
            "blocks.0.table",
            "norm.gamma",
        ];
        assert_eq!(names, expected);
        assert_eq!((tensors[4].elements(), tensors[5].component.as_str()), (48, "vae"));
    }

    #[test]
    fn what_is_no_line_is_told() {
        for line in ["norm", "norm 4y", "norm 4 -bias", "blocks.{1.norm 4", "blocks.{1}.norm 4"] {
            let error = read(&[line]).err().expect(line);
            assert!(format!("{error:#}").starts_with(&format!("a line of the list: {line}: ")), "{error:#}");
        }
    }
}
