"""The data side of a run: its plan, its pictures, its captions' features, its held-out set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalog.buckets import BY_NAME
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from catalog.notices import say
from lensmodel import build, preview, text
from lensmodel.data.loader import BadSamples, Captions, Pictures
from lensmodel.data.plan import DataPlan, held_out, identities, spread
from lensmodel.data.transform import CENTRE
from lensmodel.distributed import Ranks
from lensmodel.features import FeatureCache
from lensmodel.runlog import RunLog
from lensmodel.settings import Settings
from lensmodel.validation import HeldOut


def plan_of(manifest: Manifest, captions: Captions, settings: Settings) -> tuple[DataPlan, np.ndarray]:
    """The plan of a run, and which samples it holds out: bool [samples]. Raises BadInput if no bucket fills a batch."""
    samples = manifest.samples
    held = held_out(identities(samples), settings.holdout, settings.holdout_least)
    sources = samples["source"].to_list() if "source" in samples.columns else None
    if manifest.mixture and sources is None:
        raise BadInput(f"{manifest.samples_path} does not say the sources to weigh; build the shards again")
    train = np.flatnonzero(~held)
    buckets = samples["bucket"].to_list()
    s = settings
    lengths = captions.lengths if s.length_window > 1 else None
    plan = DataPlan(
        buckets, train, s.batch_sizes(), s.seed, sources, manifest.mixture, lengths, s.length_window
    )
    return plan, held


def captions_of(manifest: Manifest, settings: Settings) -> Captions:
    """Which caption each sample of a run trains with."""
    return Captions(manifest, settings.seed, settings.brief_fraction, settings.caption_dropout)


class RunData:
    """Everything a trainer asks of a manifest. Call `encode` before `texts` or `held_out_sets`.

    Changes nothing in `out`. Raises BadInput if no bucket fills a batch or the encoder is not there.
    """

    def __init__(self, manifest: Manifest, settings: Settings, out: Path, ranks: Ranks, log: RunLog) -> None:
        self.manifest, self.settings, self.out, self.ranks, self.log = manifest, settings, out, ranks, log
        self.encode_seconds = 0.0
        self.online: text.TextEncoder | None = None
        s, samples = settings, manifest.samples
        self.captions = captions_of(manifest, s)
        self.plan, held = plan_of(manifest, self.captions, s)
        keys, buckets = identities(samples), samples["bucket"].to_list()
        self.latents = build.latents(s, ranks.device)
        self.bad = BadSamples(self.out / "bad_samples.jsonl")
        self.pictures = Pictures(self.manifest, self.latents.pixel_size, s.seed, s.cache_mb, self.bad)
        rows = np.flatnonzero(held)
        order = rows[np.argsort(spread(keys[rows]), kind="stable")][: s.validation_samples]
        self.held_rows: dict[str, np.ndarray] = {
            name: np.sort(order[[buckets[row] == name for row in order]])
            for name in sorted({buckets[r] for r in order})
        }
        first = order if len(order) else itertools.chain(*self.plan.members.values())
        self.prompts = preview.prompts_of(s, (self.captions.dense[int(row)] for row in first))
        self.encoder = build.encoder_config(s, text.sha256_of(text.weight_files(s.encoder)))
        self._held, self._validating = int(held.sum()), len(order)

    def samples_of_bases(self) -> dict[int, list[int]]:
        """Samples an epoch of each bucket that trains, by base."""
        found: dict[int, list[int]] = {}
        for name, count in self.plan.least.items():
            if self.plan.batches_of[name]:
                found.setdefault(BY_NAME[name].base, []).append(count)
        return dict(sorted(found.items()))

    def rebatch(self, settings: Settings) -> None:
        """Plan anew with the batch sizes of `settings`, which differ in nothing else."""
        self.settings = settings
        self.plan, _ = plan_of(self.manifest, self.captions, settings)

    def report(self) -> None:
        """Say what an epoch is, and what of the data never trains."""
        plan, samples, held, validating = self.plan, self.manifest.samples, self._held, self._validating
        self.log.event(
            "data",
            f"data: {len(samples)} images in {len(plan.members)} buckets; "
            f"an epoch is {plan.samples_per_epoch} images in {plan.batches_per_epoch} batches; "
            f"{plan.dropped_per_epoch} left over in incomplete batches (others each epoch); "
            f"{held} held out, {validating} of them to validate",
            images=len(samples),
            batches_per_epoch=plan.batches_per_epoch,
            samples_per_epoch=plan.samples_per_epoch,
            dropped_per_epoch=plan.dropped_per_epoch,
            held_out=held,
            manifest=self.manifest.fingerprint,
        )
        self._report_mixture()
        if plan.starved:
            names = ", ".join(f"{name} ({n} of {plan.batch_size[name]})" for name, n in plan.starved.items())
            self.log.event(
                "warning",
                f"warning: buckets with fewer images than a batch never train: {names}",
                starved=plan.starved,
            )

    def _report_mixture(self) -> None:
        """Say what each source is of the stream, if there are several or one is weighted."""
        mixture, shares = self.manifest.mixture, self.plan.shares
        if len(shares) < 2 and not mixture:
            return
        images = dict.fromkeys(shares, 0)
        for group in (group for groups in self.plan.groups.values() for group in groups):
            images[group.source] += len(group.rows)
        found = {
            source: {"images": images[source], "repeats": mixture.get(source, 1.0), "share": round(share, 6)}
            for source, share in shares.items()
        }
        told = (
            f"{kind} {f['share']:.1%} ({f['images']} images x {f['repeats']:g})" for kind, f in found.items()
        )
        self.log.event("mixture", f"mixture: {', '.join(told)}", sources=found)

    def encode(self) -> None:
        """Encode what is not in the cache, on rank 0 alone, which the others let go first; the encoder is gone before
        training starts. With encode=online the encoder stays, on every rank, and there is no cache.
        """
        s = self.settings
        if s.encode == "online":
            self.online = text.load(self.encoder, str(self.ranks.device))
            self._check_width(self.online.width)
            return
        folder = Path(s.features) if s.features else self.out / "text-features"
        wanted = self.captions.all(np.concatenate([*self.plan.members.values(), *self.held_rows.values()]))
        wanted += self.prompts
        if self.ranks.main:
            cache = FeatureCache(folder, self.encoder)
            missing = cache.missing(wanted)
            if missing:
                start = time.monotonic()
                say(f"encoding {len(missing)} captions with {s.encoder} (once; kept in {folder})")
                encoder = text.load(self.encoder, str(self.ranks.device))
                self._check_width(encoder.width)
                loading = time.monotonic() - start
                cache.fill(missing, encoder)
                self.encode_seconds = cache.encode_seconds
                self.log.event(
                    "encoded",
                    f"encoded {len(missing)} captions in {cache.encode_seconds:.1f} s "
                    f"(+ {loading:.1f} s to load the encoder; not part of the training time)",
                    captions=len(missing),
                    seconds=round(cache.encode_seconds, 2),
                    load_seconds=round(loading, 2),
                )
        self.features = FeatureCache(folder, self.encoder)
        self._check_width(self.features.width)

    def _check_width(self, width: int) -> None:
        s = self.settings
        if width != s.enc_hidden_dim and s.init_from:
            raise BadInput(
                f"encoder={s.encoder} gives features of width {width}; init_from={s.init_from} takes {s.enc_hidden_dim}"
            )
        if width != s.enc_hidden_dim:
            raise BadInput(f"encoder={s.encoder} gives features of width {width}; set enc_hidden_dim={width}")

    @property
    def main_bucket(self) -> str:
        """The bucket most images of an epoch are in."""
        plan = self.plan
        return max(plan.batches_of, key=lambda name: plan.batches_of[name] * plan.batch_size[name])

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the data: encoder, latents, main bucket and manifest."""
        s, manifest = self.settings, self.manifest
        return {
            "encoder": asdict(self.encoder),
            "latents": {"kind": s.latents, "keep": s.pixel_keep, "weights": self.latents.weights},
            "main_bucket": self.main_bucket,
            "manifest": {
                "name": manifest.name,
                "fingerprint": manifest.fingerprint,
                "samples": len(manifest.samples),
                "root": manifest.where,
            },
        }

    def tokens_of(self, bucket: str) -> int:
        """Image tokens of a picture of this bucket."""
        b = BY_NAME[bucket]
        width, height = self.latents.pixel_size(b.width, b.height)
        rows, columns = self.latents.grid(width, height)
        return rows * columns

    def texts(self, captions: list[str | None]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The features of captions, padded: ([B, T, width] a layer, mask [B, T]); None has none."""
        features, mask = text.pad(
            self.features_of(captions), len(self.encoder.layers), self.settings.enc_hidden_dim
        )
        return [f.to(self.ranks.device) for f in features], mask.to(self.ranks.device)

    def features_of(self, captions: Sequence[str | None]) -> list[torch.Tensor | None]:
        """bfloat16 [tokens, layers, width] of each caption: from the cache or, with encode=online, encoded now."""
        if self.online is not None:
            return self._encoded_now(captions)
        return [None if c is None else self.features.get(c) for c in captions]

    def _encoded_now(self, captions: Sequence[str | None]) -> list[torch.Tensor | None]:
        """As the cache would give them, rounded to bfloat16, too: both ways train on the same features."""
        assert self.online is not None
        features = iter(self.online.encode([c for c in captions if c is not None]))
        return [None if c is None else next(features).bfloat16() for c in captions]

    def held_out_sets(self) -> list[HeldOut]:
        """The validation pictures: centre crops with their dense captions."""
        sets = []
        for bucket, rows in self.held_rows.items():
            pictures = np.empty(self.pictures.shape(len(rows), bucket), dtype=np.float32)
            try:
                used = [
                    self.pictures.picture(int(row), rows, lambda image_id: CENTRE, out)
                    for row, out in zip(rows, pictures, strict=True)
                ]
            except LensError:  # not one of them can be read, as bad_samples.jsonl says; others validate
                continue
            captions: list[str | None] = [self.captions.dense[row] for row in used]
            image_ids = [self.pictures.image_ids[row] for row in used]
            sets.append(HeldOut(bucket, torch.from_numpy(pictures), self.texts(captions), image_ids))
        return sets
