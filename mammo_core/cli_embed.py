"""The command that writes features of a pretrained network: embed. Importing this module registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mammo_core.cli_app import Json, app, open_home
from mammo_core.terminal import ProgressBar, print_json, say


@app.command()
def embed(
    dataset: Annotated[str, typer.Argument(help="A data set of the workspace.")],
    arch: Annotated[str, typer.Option(help="Any backbone that timm knows.")] = "resnet50",
    weights: Annotated[str, typer.Option(help="imagenet, or a .pth or .safetensors file.")] = "imagenet",
    image_size: Annotated[str, typer.Option(help="Pixels, as the trainings that use it: 512, or height,width.")] = "512",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="A new folder; without it one in the workspace.")] = None,
    json: Json = False,
) -> None:
    """Write pooled features of a frozen network for every film; a training joins them to its own by 'embeddings'."""
    from mammo_core.config import TrainConfig
    from mammo_core.presets import parse_overrides
    from mammo_core.workflows.embed import EmbedPlan, embed_dataset

    text = f"[{image_size}]" if "," in image_size else image_size
    size = TrainConfig.from_dict(parse_overrides([f"image_size={text}"]), source="--image-size").image_size
    plan = EmbedPlan(dataset=dataset, arch=arch, weights=weights, image_size=size, device=device, out=out)
    folder, record = embed_dataset(open_home(), plan, ProgressBar("Films"))
    if json:
        print_json({"name": folder.name, **record.model_dump(mode="json")})
        return
    left = f", {len(record.left_out)} film(s) could not be read" if record.left_out else ""
    say(f"{record.films} films x {record.features} features of {record.arch}{left}.")
    say(f"Join them to a training with: --set embeddings={folder.name if out is None else out}")
