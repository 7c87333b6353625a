//! The rules of the format that types do not carry, and the limits on every size.
//!
//! Runs before anything is allocated by what the manifest says. Each failure names its field.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::manifest::{
    Classes, ImageSize, Latent, ListedFile, Manifest, Measured, Network, NoPrompt, Preset, Sampling,
    TensorNames, Time,
};
use super::maps::Map;
use super::parse::quoted;
use super::role::Role;
use super::version::Version;
use crate::error::{Error, invalid_bundle, limit_exceeded};
use crate::precision::Precision;
use crate::sampler::Schedule;
use crate::{Limits, Result};

/// Most characters of a bundle's or a preset's name.
const NAME_CHARS: usize = 64;
/// Most characters of a file's name.
const FILE_CHARS: usize = 128;

/// Checks everything that can be known without opening the networks.
pub(super) fn manifest(m: &Manifest, limits: &Limits) -> Result<()> {
    fields(m)?;
    name("name", &m.name)?;
    line("description", m.description.as_deref())?;
    line("license", m.license.as_deref())?;
    latent(&m.latent, limits)?;
    image(m, limits)?;
    classes(m, limits)?;
    text(m, limits)?;
    time(&m.time)?;
    if let Some(guidance) = &m.guidance {
        let most = m.latent.channels;
        require((1..=most).contains(&guidance.channels), "guidance.channels", || {
            format!("must be 1 to {most} (latent.channels), is {}", guidance.channels)
        })?;
        let place = "guidance.refiner_guided";
        require(!guidance.refiner_guided || m.networks.refiner.is_some(), place, || {
            "is true, but networks has no refiner".into()
        })?;
        require(!guidance.refiner_guided || guidance.channels == most, place, || {
            format!("is true, but only {} of {most} channels are guided", guidance.channels)
        })?;
        require(!guidance.refiner_guided || m.can_be_guided(), place, || {
            "is true, but classes has no null to guide away from".into()
        })?;
    }
    sampling(m, limits)?;
    network(Role::Predictor, Some(&m.networks.predictor))?;
    network(Role::Refiner, m.networks.refiner.as_ref())?;
    network(Role::Decoder, m.networks.decoder.as_ref())?;
    network(Role::Encoder, m.networks.encoder.as_ref())?;
    network(Role::Text, m.networks.text.as_ref())
}

/// Fields that came with a minor version are in no bundle of an older one, whose readers would refuse it.
fn fields(m: &Manifest) -> Result<()> {
    let version = Version::supported(&m.format_version).map_err(|e| e.at("format_version"))?;
    let of_1_1 = |field: &str, there: bool| {
        require(!there || version.has(1), field, || {
            format!("is a field of format 1.1, but format_version is {version}")
        })
    };
    let networks = &m.networks;
    let refiner = networks.refiner.as_ref();
    of_1_1("image.maps", m.image.as_ref().is_some_and(|image| image.maps.is_some()))?;
    of_1_1("sampling.precision", m.sampling.precision.is_some())?;
    of_1_1("text", m.text.is_some())?;
    of_1_1("networks.text", networks.text.is_some())?;
    of_1_1("networks.predictor.inputs.context", networks.predictor.inputs.context.is_some())?;
    of_1_1("networks.refiner.inputs.context", refiner.is_some_and(|r| r.inputs.context.is_some()))
}

/// A flat file name that means the same on every system and leads nowhere else.
pub(super) fn is_file_name(text: &str) -> bool {
    is_plain(text, FILE_CHARS) && !text.starts_with('.') && !text.contains("..")
}

fn is_plain(text: &str, most: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=most).contains(&text.len()) && text.bytes().all(plain)
}

fn require(holds: bool, field: &str, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(invalid_bundle(message()).at(field)) }
}

fn name(field: &str, text: &str) -> Result<()> {
    require(is_plain(text, NAME_CHARS), field, || {
        format!("must be 1 to {NAME_CHARS} of A-Z a-z 0-9 . _ -, is {}", quoted(text))
    })
}

fn line(field: &str, text: Option<&str>) -> Result<()> {
    let text = text.unwrap_or_default();
    require(!text.chars().any(|c| c.is_ascii_control()), field, || {
        format!("must be one line, is {}", quoted(text))
    })
}

/// At least 1 and within a limit.
fn size(field: &str, value: u32, limit: u32, limit_name: &str) -> Result<()> {
    require(value > 0, field, || "must be at least 1, is 0".into())?;
    if value <= limit && value < u32::MAX {
        return Ok(());
    }
    let value = if value == u32::MAX { "over 4294967294".to_owned() } else { value.to_string() };
    Err(limit_exceeded(format!("is {value}, above the limit of {limit} ({limit_name})")).at(field))
}

fn finite(field: &str, value: f32) -> Result<()> {
    require(value.is_finite(), field, || "must be a finite 32-bit number".into())
}

fn latent(latent: &Latent, limits: &Limits) -> Result<()> {
    size("latent.channels", latent.channels, limits.max_channels, "max_channels")?;
    size("latent.height", latent.height, limits.max_edge, "max_edge")?;
    size("latent.width", latent.width, limits.max_edge, "max_edge")?;
    finite("latent.scale", latent.scale)?;
    require(latent.scale != 0.0, "latent.scale", || "must not be 0".into())?;
    finite("latent.shift", latent.shift)
}

fn image(m: &Manifest, limits: &Limits) -> Result<()> {
    let coder = m.networks.decoder.is_some() || m.networks.encoder.is_some();
    let Some(ImageSize { height, width, preview, maps: listed, .. }) = &m.image else {
        return require(!coder, "image", || "is missing, but networks has a decoder or an encoder".into());
    };
    require(coder, "image", || "is there, but networks has neither a decoder nor an encoder".into())?;
    for (edge, &value, latent) in [("height", height, m.latent.height), ("width", width, m.latent.width)] {
        let field = format!("image.{edge}");
        size(&field, value, limits.max_edge, "max_edge")?;
        require(value.is_multiple_of(latent), &field, || {
            format!("must be a multiple of latent.{edge} ({latent}), is {value}")
        })?;
    }
    let wanted = m.latent.channels as usize + 1;
    for (i, row) in preview.iter().flatten().enumerate() {
        let field = format!("image.preview[{i}]");
        require(row.len() == wanted, &field, || {
            format!("must have {wanted} numbers (latent.channels and a constant), has {}", row.len())
        })?;
        row.iter().try_for_each(|&factor| finite(&field, factor))?;
    }
    listed.as_deref().map_or(Ok(()), |listed| maps(m, listed))
}

fn maps(m: &Manifest, maps: &[Map]) -> Result<()> {
    require(m.networks.decoder.is_some(), "image.maps", || {
        "is there, but networks has no decoder, which makes them".into()
    })?;
    let first = maps.first().map_or("nothing", |map| map.name());
    require(first == Map::Color.name(), "image.maps", || {
        format!("must begin with color, begins with {first}")
    })?;
    for (i, map) in maps.iter().enumerate() {
        require(!maps[..i].contains(map), &format!("image.maps[{i}]"), || format!("repeats {map}"))?;
    }
    Ok(())
}

fn classes(m: &Manifest, limits: &Limits) -> Result<()> {
    let Classes { count, null, labels } = &m.classes;
    size("classes.count", *count, limits.max_classes, "max_classes")?;
    if m.networks.predictor.inputs.y.is_none() {
        require(*count == 1, "classes.count", || {
            format!("is {count}, but the predictor takes no class (networks.predictor.inputs has no y)")
        })?;
        require(null.is_none(), "classes.null", || {
            "is there, but the predictor takes no class (networks.predictor.inputs has no y)".into()
        })?;
    }
    if let Some(null) = null {
        require(*null >= i64::from(*count), "classes.null", || {
            format!("must be at least {count} (classes.count), so that it is no class; is {null}")
        })?;
    }
    let Some(labels) = labels else { return Ok(()) };
    require(labels.len() == *count as usize, "classes.labels", || {
        format!("must have {count} entries (classes.count), has {}", labels.len())
    })?;
    for (i, label) in (0..).zip(labels) {
        let field = || format!("classes.labels[{i}]");
        require(!label.trim().is_empty(), &field(), || "must not be empty".into())?;
        // Who asks for 3 means class 3: a label may say so, but not of another class.
        let another = matches!(label.trim().parse::<i64>(), Ok(number) if number != i);
        require(!another, &field(), || {
            format!("must not read as another class's number, is {}", quoted(label))
        })?;
    }
    Ok(())
}

fn text(m: &Manifest, limits: &Limits) -> Result<()> {
    let networks = &m.networks;
    let Some(text) = &m.text else {
        let refiner = networks.refiner.as_ref().is_some_and(|refiner| refiner.inputs.context.is_some());
        for (field, there) in [
            ("networks.predictor.inputs.context", networks.predictor.inputs.context.is_some()),
            ("networks.refiner.inputs.context", refiner),
            ("networks.text", networks.text.is_some()),
        ] {
            require(!there, field, || "is there, but nothing says what a context is (text)".into())?;
        }
        return Ok(());
    };
    require(networks.predictor.inputs.context.is_some(), "text", || {
        "is there, but the predictor takes no context (networks.predictor.inputs has no context)".into()
    })?;
    let tokens = text.tokens.unwrap_or(1);
    for (field, value) in
        [("text.width", text.width), ("text.tokens", tokens), ("text.max_tokens", text.max_tokens)]
    {
        size(field, value, limits.max_edge, "max_edge")?;
    }
    limits.check_tensor([1, 1, tokens as usize, text.width as usize]).map_err(|error| error.at("text"))?;
    if let Some(ListedFile { file: name, sha256 }) = &text.tokenizer {
        file("text.tokenizer", name, sha256)?;
        require(networks.text.is_some(), "text.tokenizer", || {
            "is there, but there is no network for its tokens (networks.text)".into()
        })?;
    }
    require(networks.text.is_none() || text.tokenizer.is_some(), "networks.text", || {
        "is there, but nothing makes tokens for it (text.tokenizer)".into()
    })?;
    require(text.no_prompt == NoPrompt::Zeros || networks.text.is_some(), "text.no_prompt", || {
        "is \"empty\", but there is no network that encodes the empty prompt (networks.text)".into()
    })
}

fn time(time: &Time) -> Result<()> {
    finite("time.scale", time.scale)?;
    require(time.scale != 0.0, "time.scale", || "must not be 0".into())?;
    let sign = time.velocity_sign;
    require(sign == 1 || sign == -1, "time.velocity_sign", || format!("must be 1 or -1, is {sign}"))
}

fn sampling(m: &Manifest, limits: &Limits) -> Result<()> {
    let Sampling { schedule, guidance, presets, precision } = &m.sampling;
    preset("sampling", schedule, Some(*guidance), m, limits)?;
    for (key, Preset { schedule, guidance }) in presets {
        name("sampling.presets", key)?;
        preset(&format!("sampling.presets.{key}"), schedule, *guidance, m, limits)?;
    }
    precision.as_ref().map_or(Ok(()), measured)
}

fn measured(m: &Measured) -> Result<()> {
    let place = "sampling.precision.numbers";
    let of_processors = |numbers: Precision| numbers != Precision::Auto && !numbers.is_of_devices();
    let known = m.numbers.parse().is_ok_and(of_processors);
    require(known, place, || format!("must be f32, f16-weights, bf16 or int8, is {}", quoted(&m.numbers)))?;
    line("sampling.precision.device", Some(&m.device))?;
    let place = "sampling.precision.speedup";
    finite(place, m.speedup)?;
    require(m.speedup > 0.0, place, || format!("must be above 0, is {}", m.speedup))?;
    let place = "sampling.precision.error";
    finite(place, m.error)?;
    require(m.error >= 0.0, place, || format!("must be at least 0, is {}", m.error))
}

fn preset(field: &str, schedule: &str, guidance: Option<f32>, m: &Manifest, limits: &Limits) -> Result<()> {
    let (place, field) = (format!("{field}.schedule"), format!("{field}.guidance"));
    // The sampler also takes lower case and spaces, for people who type.
    let plain = schedule.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    require(plain, &place, || format!("must be written like H1P5R3, is {}", quoted(schedule)))?;
    let steps: Schedule =
        schedule.parse().map_err(|error: Error| invalid_bundle(error.to_string()).at(&place))?;
    steps.check(limits).map_err(|error| error.at(&place))?;
    require(m.networks.refiner.is_some() || !steps.needs_refiner(), &place, || {
        format!("{} has R steps, but networks has no refiner", quoted(schedule))
    })?;
    let Some(guidance) = guidance else { return Ok(()) };
    finite(&field, guidance)?;
    require(guidance >= 0.0, &field, || format!("must be at least 0, is {guidance}"))?;
    require(guidance == 1.0 || m.can_be_guided(), &field, || {
        format!("must be 1, since classes has no null to guide away from; is {guidance}")
    })
}

fn network<I: TensorNames>(role: Role, network: Option<&Network<I>>) -> Result<()> {
    let Some(network) = network else { return Ok(()) };
    let field = format!("networks.{role}");
    file(&field, &network.file, &network.sha256)?;
    for (i, entry) in network.external_data.iter().enumerate() {
        file(&format!("{field}.external_data[{i}]"), &entry.file, &entry.sha256)?;
    }
    let mut seen = HashSet::new();
    for (input, tensor) in network.inputs.named() {
        let field = format!("{field}.inputs.{input}");
        require(!tensor.is_empty(), &field, || "must not be empty".into())?;
        require(seen.insert(tensor), &field, || format!("repeats the tensor {}", quoted(tensor)))?;
    }
    require(!network.output.is_empty(), &format!("{field}.output"), || "must not be empty".into())
}

fn file(field: &str, name: &str, sha256: &str) -> Result<()> {
    require(is_file_name(name), &format!("{field}.file"), || {
        let name = quoted(name);
        format!("must be a flat name of at most {FILE_CHARS} A-Z a-z 0-9 . _ - without '..', is {name}")
    })?;
    let hex = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    require(hex, &format!("{field}.sha256"), || {
        format!("must be 64 lower-case hex digits, is {}", quoted(sha256))
    })
}
