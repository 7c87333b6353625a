"""From a folder of images to a bundle: python models/train/run.py --data FOLDER --out WORK --bundle BUNDLE

WORK holds a checkpoint, a CSV log and sheets for each stage; running the same command again goes on where it
ended, and skips what is finished.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from eval import phrases, relief
from export import ExportError
from export.bundle import Classes, Latent, Manifest, Text, write_bundle
from export.preview import fit_preview
from export.program import find_program
from nets.autoencoder import Autoencoder, AutoencoderConfig, make_config
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn
from train import autoencoder, evaluate, options, predictor, refiner
from train.align import BLOCK
from train.captions import texts_of
from train.complete import complete
from train.conditions import Conditions, of_classes, of_texts
from train.data import Images, to_unit, write_smoke_images
from train.grow import grow_autoencoder, grow_transformer
from train.latents import Latents, Texts, encode
from train.packed import unpack_texts
from train.perceptual import Perceptual
from train.report import write_report
from train.sampler import Sampler
from train.sets import write_smoke_materials
from train.sheets import save_curves, save_sheet
from train.source import is_plain, load
from train.stage import Budget
from train.taken import Unfit, read_manifest, take, take_autoencoder, take_for_other_classes
from train.text import MAX_TOKENS, WIDTH, embed
from train.work import Work, kept_tensors


class Run:
    """One call of the command: its options, and what the stages share, made when first asked for."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen, self.device, self.work = chosen, torch.device(chosen.device), Work(chosen)
        if chosen.smoke and chosen.data is None:
            maps = len(chosen.maps) > 1
            chosen.data = chosen.out / ("smoke-materials" if maps else "smoke-images")
            (write_smoke_materials if maps else write_smoke_images)(chosen.data, chosen.size)
        for name in ("start", "grow"):
            bundle = getattr(chosen, name)
            begun = read_manifest(bundle) if bundle else None
            self.work.keep(name, begun and begun["networks"]["predictor"]["sha256"], f"a --{name} of predictor")
        if "predictor" in chosen.taken:
            begun = read_manifest(chosen.start)
            self.work.keep("classes", begun["classes"]["labels"], "classes", source=f"--start {chosen.start}")

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """What to train on, and what training never sees."""
        return self.load(self.chosen.size)

    @cached_property
    def zoomed(self) -> Images | None:
        """The images to train on at twice the size, of a plain folder: materials are not all that large."""
        return self.load(2 * self.chosen.size)[0] if is_plain(self.chosen.data) else None

    def load(self, size: int) -> tuple[Images, Images]:
        """Fails at once where the bundle at the end would be refused for its classes."""
        images = load(self.chosen.data, size, self.chosen.maps)
        self.work.keep("classes", images.classes, "classes", source=f"--data {self.chosen.data}")
        try:
            self.manifest.check()
        except ExportError as error:
            raise SystemExit(f"error: {error}") from error
        return images.split(self.chosen.held_out, self.chosen.seed)

    @cached_property
    def latents(self) -> Latents:
        return self.kept("training", self.images[0])

    @cached_property
    def held_out_latents(self) -> Latents:
        return self.kept("held-out", self.images[1])

    def kept(self, name: str, images: Images) -> Latents:
        """Encoding takes minutes: what is encoded is kept, and is good as long as everything it came of is the same."""
        chosen = self.chosen
        made_of = hashlib.sha256(f"{chosen.shifts} {chosen.turn} {chosen.seed} {chosen.bf16}".encode())
        for part in (
            *self.autoencoder.state_dict().values(),
            images.pixels,
            images.labels,
            images.present,
            images.tiles,
        ):
            if part is not None:
                made_of.update(part.cpu().numpy().tobytes())
        values, features = kept_tensors(
            chosen.out / f"{name}.latents", made_of.hexdigest(), lambda: self.encode(images), self.device
        )
        return Latents(
            values,
            features,
            images.labels,
            4 * chosen.shifts,
            torch.Generator().manual_seed(chosen.seed),
            self.texts_of(images),
            images.tiles,
            chosen.size // chosen.factor // chosen.patch,
        )

    def encode(self, images: Images) -> tuple[Tensor, Tensor]:
        print(f"encoding {len(images.labels)} images", flush=True)
        chosen = self.chosen
        turned = images.classes if chosen.turn == "all" else [name for name in chosen.turn.split(",") if name]
        if unknown := set(turned) - set(images.classes):
            raise SystemExit(f"--turn {','.join(sorted(unknown))}: the classes are {', '.join(images.classes)}")
        network = Perceptual((BLOCK,)).to(self.device, memory_format=torch.channels_last)
        return encode(
            complete(images, self.autoencoder, self.device),
            self.autoencoder,
            network,
            chosen.shifts,
            turned,
            chosen.seed,
            self.device,
            bf16=chosen.bf16,
        )

    def texts_of(self, images: Images) -> Texts | None:
        return texts_of(images, self.texts) if self.chosen.text else None

    @cached_property
    def texts(self) -> Path:
        """The file of embeddings, those of packed data in it."""
        file = self.chosen.out / "texts.npz"
        if self.chosen.data.is_file():
            unpack_texts(self.chosen.data, file)
        return file

    @property
    def pool(self) -> Conditions | None:
        """What the refiner's paths are asked by, where that is not classes alone."""
        texts = self.texts_of(self.images[0])
        return texts and Conditions(self.images[0].labels, texts.captions)

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        return make_config(self.chosen.factor, self.chosen.latent_channels, self.chosen.maps)

    @property
    def predictor_config(self) -> SiTConfig:
        chosen = self.chosen
        return SiTConfig(
            input_size=chosen.size // chosen.factor,
            patch_size=chosen.patch,
            latent_channels=chosen.latent_channels,
            hidden_size=chosen.hidden,
            depth=chosen.depth,
            num_heads=chosen.heads,
            num_classes=len(self.work.classes()),
            mlp_hidden=4 * chosen.hidden,
            out_channels=chosen.latent_channels,
            context=WIDTH if chosen.text else 0,
            prior=chosen.prior,
            local=chosen.local,
        )

    @property
    def refiner_config(self) -> SiTConfig:
        chosen = self.chosen
        return replace(
            self.predictor_config,
            hidden_size=chosen.refiner_hidden,
            depth=chosen.refiner_depth,
            num_heads=chosen.refiner_hidden * chosen.heads // chosen.hidden,
            mlp_hidden=4 * chosen.refiner_hidden,
            refiner=True,
            prior=False,
            local=0,
        )

    @property
    def manifest(self) -> Manifest:
        """Every latent channel is guided."""
        chosen = self.chosen
        classes, edge = self.work.classes(), chosen.size // chosen.factor
        return Manifest(
            name=chosen.name,
            description=chosen.description,
            license=chosen.license,
            latent=Latent(chosen.latent_channels, edge, edge),
            image=(chosen.size, chosen.size),
            wraps=True,
            classes=Classes(len(classes), labels=classes),
            schedule=chosen.schedule,
            guidance=chosen.guidance,
            refiner_guided=True,
            presets=chosen.presets,
            maps=list(chosen.maps) if len(chosen.maps) > 1 else None,
            text=Text(WIDTH, max_tokens=MAX_TOKENS) if chosen.text else None,
        )

    @cached_property
    def autoencoder(self) -> Autoencoder:
        if self.chosen.start:
            return take_autoencoder(self.chosen.start, Autoencoder(self.autoencoder_config)).to(self.device)
        return self.work.load_ema("autoencoder", Autoencoder(self.autoencoder_config)).to(self.device)

    @cached_property
    def final_autoencoder(self) -> Autoencoder:
        """The same latents, and the decoder as its own stage has left it, where that has run."""
        if not self.work.checkpoint("decoder").exists():
            return self.autoencoder
        return self.work.load_ema("decoder", Autoencoder(self.autoencoder_config)).to(self.device)

    @cached_property
    def predictor(self) -> SiT:
        if "predictor" in self.chosen.taken:
            return take(self.chosen.start, "predictor", SiT(self.predictor_config)).to(self.device)
        return self.work.load_ema("predictor", SiT(self.predictor_config)).to(self.device)

    @cached_property
    def refiner(self) -> SiT:
        return self.work.load_ema("refiner", SiT(self.refiner_config)).to(self.device)

    def do(self, stage: str) -> None:
        if stage == "evaluate":
            self.evaluate()
        elif stage == "export":
            self.export()
        else:
            self.train(stage)

    def train(self, stage: str) -> None:
        """Trains a stage until its budget is used up."""
        steps, minutes, batch, rate = (
            getattr(self.chosen, f"{stage}_{name}") for name in ("steps", "minutes", "batch", "rate")
        )
        images = self.images
        self.work.begin(stage)
        spent = self.work.spent(stage, Budget(steps, minutes))
        if spent.progress >= 1:
            print(f"{stage}: finished ({spent.step} steps, {spent.seconds / 60:.1f} minutes)", flush=True)
            return
        # A resumed stage must not draw its first batches again.
        seed = self.chosen.seed + spent.step
        common = {"batch": batch, "rate": rate, "device": self.device, "bf16": self.chosen.bf16, "seed": seed}
        least = options.LEAST_GOING_ON if self.chosen.start else options.LEAST
        told = {} if self.chosen.smoke else {"stage": stage, "least": least.get(stage, 0)}
        budget, checkpoint = Budget(steps, minutes, **told), self.work.checkpoint(stage)
        if stage in ("autoencoder", "decoder"):
            start = self.autoencoder if stage == "decoder" else None
            config, (seen, unseen) = self.autoencoder_config, images
            common |= {"start": start, "texture": self.chosen.texture, "crop": self.chosen.crop}
            if self.chosen.grow and stage == "autoencoder":
                common["start"] = grow_autoencoder(self.chosen.grow, Autoencoder(config), seen)
            autoencoder.train(seen, self.zoomed, unseen, config, budget, checkpoint, **common)
            return
        if stage == "predictor":
            self.latents.generator.manual_seed(seed)
            predictor.train(
                self.latents,
                self.held_out_latents,
                self.predictor_config,
                budget,
                checkpoint,
                align=self.chosen.align,
                compiled=self.chosen.compile,
                start=self.predictor_to_start_from(),
                watch=evaluate.Watch(
                    self.final_autoencoder, images[0].classes, self.chosen.preview_minutes, self.chosen.out, self.device
                ),
                **common,
            )
        else:
            refiner.train(
                self.predictor,
                self.refiner_config,
                budget,
                checkpoint,
                max_delta=self.chosen.max_delta,
                guidance=self.chosen.guidance,
                max_guidance=self.chosen.max_guidance,
                start=self.refiner_to_start_from(),
                pool=self.pool,
                **common,
            )

    def predictor_to_start_from(self) -> SiT | None:
        """The --start bundle's, for the classes of --data, or the --grow bundle's, grown."""
        if self.chosen.grow:
            return grow_transformer(self.chosen.grow, "predictor", SiT(self.predictor_config).initialise())
        if not self.chosen.start:
            return None
        return take_for_other_classes(self.chosen.start, "predictor", SiT(self.predictor_config))

    def refiner_to_start_from(self) -> SiT | None:
        """The --start bundle's, or the --grow bundle's, grown, if it is of sizes that fit."""
        try:
            if self.chosen.grow:
                return grow_transformer(self.chosen.grow, "refiner", SiT(self.refiner_config).initialise())
            if not self.chosen.start:
                return None
            taking = take if "predictor" in self.chosen.taken else take_for_other_classes
            return taking(self.chosen.start, "refiner", SiT(self.refiner_config))
        except Unfit as why:
            print(f"the refiner is trained from scratch: {why}", flush=True)
            return None

    def networks(self) -> dict[str, nn.Module]:
        """Copies of what the bundle holds."""
        networks = {"predictor": self.predictor, "refiner": self.refiner, "decoder": self.final_autoencoder.decoder}
        return copy.deepcopy(networks) | {"encoder": self.autoencoder.encoder.folded()}

    def export(self) -> None:
        judge = self.judge(self.chosen.guidance, each=4)
        latents = judge.latents(evaluate.GOOD)
        manifest = replace(self.manifest, preview=fit_preview(latents, judge.images(latents)))
        networks = {role: network.cpu() for role, network in self.networks().items()}
        try:
            print(write_bundle(self.chosen.bundle, manifest, networks, program=program_if_any()))
        except ExportError as error:
            raise SystemExit(f"error: {error}") from error

    def judge(self, guidance: float, each: int) -> evaluate.Judge:
        sampler = Sampler(self.predictor, self.refiner, guidance, refiner_guided=True)
        classes = of_classes(torch.arange(len(self.work.classes())), self.predictor_config)
        return evaluate.Judge(self.final_autoencoder, sampler, classes, each, self.device)

    def evaluate(self) -> None:
        """Writes `evaluation.json`, the sheets and curves, and `report.html`, which shows them all."""
        chosen, out, device, judge = self.chosen, self.chosen.out, self.device, self.judge
        images, held_out = self.images
        names, halves = images.classes, {"held_out": self.held_out_latents, "training": self.latents}
        colours, token = images.pixels[:, :3], chosen.patch * chosen.factor
        colours = to_unit(colours[:: max(1, colours.numel() >> 27)])  # what 0.5 GB hold

        own, few = judge(chosen.guidance, chosen.samples), judge(chosen.guidance, min(4, chosen.samples))
        samples = own.images(own.latents(chosen.schedule))
        save_sheet(out / "samples.png", samples, chosen.samples, names=names)
        each = min(3, chosen.samples)
        evaluate.save_presets(
            {name: (judge(guidance, each), schedule) for name, (schedule, guidance) in chosen.presets.items()},
            out / "presets.png",
            names,
        )
        trained = [stage for stage in options.SHARES if self.work.checkpoint(stage).exists()]
        logs = [self.work.checkpoint(stage).with_suffix(".csv") for stage in trained]
        save_curves(out / "curves.png", [log for log in logs if log.exists()])
        schedules = [chosen.schedule, *(schedule for schedule, _ in chosen.presets.values()), *evaluate.SCHEDULES]
        numbers = {
            "images": {"training": len(images.labels), "held_out": len(held_out.labels)},
            "trained": {stage: self.work.summary(stage) for stage in trained},
            "parameters": {role: sum(p.numel() for p in n.parameters()) for role, n in self.networks().items()},
            "autoencoder": autoencoder.evaluate(self.autoencoder, held_out, device),
            "decoder": autoencoder.evaluate(self.final_autoencoder, held_out, device),
            "predictor": {name: predictor.evaluate(self.predictor, half, device) for name, half in halves.items()},
            "refiner": refiner.evaluate(
                self.refiner,
                self.predictor,
                max_delta=chosen.max_delta,
                guidance=chosen.guidance,
                max_guidance=chosen.max_guidance,
                device=device,
                pool=self.pool,
            ),
            "seam": {"training": evaluate.seam(colours, token), "samples": evaluate.seam(samples, token)},
            "guidance": chosen.guidance,
            "presets": {name: {"schedule": s, "guidance": g} for name, (s, g) in chosen.presets.items()},
            "reference": f"H{chosen.reference_steps}",
            "schedules": evaluate.compare_schedules(
                few, list(dict.fromkeys(schedules)), chosen.reference_steps, out, len(names)
            ),
        }
        if len(chosen.maps) > 1:
            numbers["maps"] = relief.judge(self.final_autoencoder, images, held_out, device)
            evaluate.save_maps(few, chosen.schedule, out / "maps.png", chosen.maps, names)
        if chosen.text:
            numbers["phrases"] = self.ask_phrases(own.sampler)
        evaluate.write_json(out / "evaluation.json", numbers)
        counts = torch.cat([images.labels, held_out.labels]).bincount().tolist()
        print(f"wrote {write_report(out, chosen.name, dict(zip(names, counts)), numbers)}")

    def ask_phrases(self, sampler: Sampler) -> dict[str, float]:
        """Draws the free phrases of models/eval, `phrases.png`, and says how many have the colour that they name."""
        chosen, asked = self.chosen, phrases.read_phrases()
        contexts = torch.from_numpy(embed([phrase.text for phrase in asked], self.texts)).to(self.device)
        conditions = of_texts(contexts, self.predictor_config)
        judge = evaluate.Judge(self.final_autoencoder, sampler, conditions, min(4, chosen.samples), self.device)
        images = judge.images(judge.latents(chosen.schedule))
        each = len(images) // len(asked)
        save_sheet(out := chosen.out / "phrases.png", images, each, names=[phrase.text for phrase in asked])
        print(f"wrote {out}", flush=True)
        return phrases.score_colours(images.unflatten(0, (len(asked), each)), asked)


def program_if_any() -> Path | None:
    """flowturbo's, to run the bundle by; what was trained is written without, too, and said to be so."""
    try:
        return find_program()
    except ExportError:
        return None


def begin(arguments: list[str] | None) -> Run:
    """A run with these options; threads and flushed denormals are those of the whole process."""
    chosen = options.parse(arguments)
    torch.set_flush_denormal(True)  # a CPU takes a hundred times longer over numbers that near zero
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    return Run(chosen)


def main(arguments: list[str] | None = None) -> None:
    run = begin(arguments)
    chosen = run.chosen
    for stage in options.STAGES if chosen.stage == "all" else chosen.stage.split(","):
        if stage not in chosen.taken:
            run.do(stage)


if __name__ == "__main__":
    main()
