//! The report for people.

use std::fmt::Write;

use flowturbo::manifest::Measured;
use flowturbo::{Fallback, Port, Role};

use super::network::{Network, kind};
use super::{Report, direction, no_prompt};
use crate::options::class_name;
use crate::units::{bytes, count, plural, time};

/// The most labels shown; `flowturbo classes` shows all.
const MOST_LABELS: usize = 16;
/// The most operations named that run by fallback; `--json` names all.
const MOST_FALLBACKS: usize = 8;

impl Report<'_> {
    pub fn text(&self) -> String {
        let mut text = self.head();
        for network in &self.networks {
            text.push('\n');
            text += &network.text();
        }
        text.push('\n');
        text + &self.foot()
    }

    fn head(&self) -> String {
        let (mut text, manifest) = (String::new(), self.model.manifest());
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:12} {value}");
        };
        line("name", &manifest.name);
        line("description", manifest.description.as_deref().unwrap_or("-"));
        line("licence", manifest.license.as_deref().unwrap_or("-"));
        line("hash", self.model.bundle().hash());
        line("format", &format!("{} {}", manifest.format, manifest.format_version));
        if let Some(target) = self.model.bundle().target() {
            line("plan", &format!("for {target}"));
        }
        let latent = &manifest.latent;
        let (channels, height, width) = (latent.channels, latent.height, latent.width);
        let scaling = format!("scale {}, shift {}", latent.scale, latent.shift);
        line("latent", &format!("{channels} x {height} x {width} (channels, height, width), {scaling}"));
        let image = manifest.image.as_ref();
        let image = image.map_or("-".into(), |i| format!("{} x {} RGB (height, width)", i.height, i.width));
        line("image", &image);
        let packed = self.maps(true).join(", ");
        let packed = if packed.is_empty() { packed } else { format!("; packed: {packed}") };
        if manifest.has(Role::Decoder) {
            line("maps", &(self.maps(false).join(", ") + &packed));
        }
        line("classes", &self.classes());
        if let Some(text) = &manifest.text {
            let tokens = text.tokens.map_or(String::new(), |tokens| format!("{tokens} x "));
            let none = no_prompt(text.no_prompt);
            line("context", &format!("{tokens}{} floats for each image; {none} is no prompt", text.width));
            if let Some(tokenizer) = &text.tokenizer {
                let most = text.max_tokens;
                line("prompt", &format!("{most} tokens at most, by {}", tokenizer.file));
            }
        }
        let (scale, sign) = (manifest.time.scale, manifest.time.velocity_sign);
        line("time", &format!("{}, scale {scale}, velocity sign {sign}", direction(manifest.time.direction)));
        let refiner = if manifest.refiner_guided() { ", the refiner's answers guided ones" } else { "" };
        line("guidance", &format!("on {} of {channels} channels{refiner}", manifest.guided_channels()));
        let sampling = &manifest.sampling;
        line("default", &format!("{}, guidance {}", sampling.schedule, sampling.guidance));
        for (name, preset) in self.model.bundle().presets() {
            line("preset", &format!("{name}: {}, guidance {}", preset.schedule, preset.guidance));
        }
        if let Some(Measured { numbers, device, speedup, error, .. }) = &sampling.precision {
            line(
                "precision",
                &format!("auto is {numbers}: {speedup} times f32's speed on {device}, {error} off"),
            );
        }
        text
    }

    fn classes(&self) -> String {
        let manifest = self.model.manifest();
        let classes = &manifest.classes;
        let labels = match &classes.labels {
            None => "no labels".to_owned(),
            Some(labels) => {
                let shown = (0..classes.count).take(MOST_LABELS).map(|c| class_name(i64::from(c), manifest));
                let more = if labels.len() > MOST_LABELS { ", ..." } else { "" };
                shown.collect::<Vec<_>>().join(", ") + more
            }
        };
        let null = classes.null.map_or("none for no class".to_owned(), |null| format!("{null} is no class"));
        format!("{}: {labels}; {null}", classes.count)
    }

    fn foot(&self) -> String {
        let (mut text, sampling) = (String::new(), &self.model.manifest().sampling);
        let called = self.networks.iter().filter(|network| self.calls(network.role) > 0);
        let calls: Vec<String> =
            called.map(|n| plural(self.calls(n.role) as usize, &format!("{} call", n.role))).collect();
        let _ = writeln!(
            text,
            "one generation: {} with {} and guidance {}: {}, {}FLOP",
            plural(self.images, "image"),
            self.schedule,
            sampling.guidance,
            calls.join(", "),
            count(self.flops()),
        );
        let constants = self.networks.iter().map(|network| network.cost.constant_bytes).sum();
        let activation = self.networks.iter().map(|network| network.cost.largest_activation_bytes).max();
        let _ = writeln!(
            text,
            "memory: {} of constants, largest activation {}{}; loaded in {}",
            bytes(constants),
            bytes(activation.unwrap_or_default()),
            self.memory
                .map(|peak| format!(", {} held at the peak of loading", bytes(peak)))
                .unwrap_or_default(),
            time(self.load),
        );
        text
    }
}

impl Network {
    fn text(&self) -> String {
        let (mut text, cost) = (String::new(), &self.cost);
        let _ = writeln!(text, "{:12} {}, {}", self.role.to_string(), self.file, bytes(self.bytes));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:10} {value}");
        };
        let port = |port: &Port| format!("{} {} {:?}", port.name, kind(port), port.shape);
        let inputs: Vec<String> = self.contract.inputs.iter().map(port).collect();
        line("inputs", &inputs.join(", "));
        line("output", &port(&self.contract.output));
        let weights = cost.weights.iter().map(|(kind, elements)| format!("{kind} {}", count(*elements)));
        let weights = weights.collect::<Vec<_>>().join(", ");
        line("weights", &format!("{} parameters ({weights})", count(cost.parameters())));
        let doubled = if self.doubled { ", doubled for guidance" } else { "" };
        line("one call", &format!("{}FLOP on a batch of {}{doubled}", count(cost.flops), self.batch));
        let (constants, activation) = (bytes(cost.constant_bytes), bytes(cost.largest_activation_bytes));
        line(
            "graph",
            &format!("{} nodes, {constants} of constants, largest activation {activation}", cost.nodes),
        );
        if let Some(reason) = self.left_to_tract() {
            line("fallback", &format!("plain tract runs the whole network, more slowly: {reason}"));
        } else if !self.fallbacks.is_empty() {
            let named = self.fallbacks.iter().filter_map(|fallback| match fallback {
                Fallback::Operation { operation, node } => Some(format!("{operation} '{node}'")),
                _ => None,
            });
            let shown: Vec<String> = named.take(MOST_FALLBACKS).collect();
            let more = if self.fallbacks.len() > MOST_FALLBACKS { ", ..." } else { "" };
            let operations = plural(self.fallbacks.len(), "operation");
            line("fallback", &format!("plain tract runs {operations}: {}{more}", shown.join(", ")));
        }
        text
    }
}
