"""The metric: the reader with one frozen map for each site, kept in one file.

Shapes: N texts, d width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from reverse_codi.errors import UserError, blamed_on
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.basis import FeatureBasis
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.storage.files import DamagedError, strict_json, whole_file
from reverse_codi.storage.manifest import check_files, write_manifest
from reverse_codi.utils.finite import non_finite

MAPS_FILE = "maps.safetensors"
REFIT = "restore it from a copy, or move its folder away to fit it anew"
# Large parts, whose rounding moves a distance by less than a thousandth; see `_halved`.
HALVED = ("weight", "whitener", "reference")
# Prefix of the basis that all maps share, beside the names of sites.
BASIS = "basis"


class MetricError(UserError):
    """Maps do not fit the reasoner at hand."""


class ThoughtMetric:
    """Predicts thoughts from texts and measures how far they lie from true ones.

    Args:
        reader: reads texts with the frozen model.
        maps: one affine map for each site.
    """

    def __init__(self, reader: Reader, maps: Mapping[Site, AffineMap]) -> None:
        self.reader = reader
        self.maps = dict(maps)

    @property
    def sites(self) -> list[Site]:
        """Sites that have a map, in order."""
        return sorted(self.maps)

    def map_of(self, site: Site) -> AffineMap:
        """The map of a site; an unknown site gives an error that lists the known ones."""
        if site not in self.maps:
            raise KeyError(f"no map for site {site}; there is one for {', '.join(map(str, self.sites))}")
        return self.maps[site]

    def predict(
        self, texts: Sequence[str], sites: Sequence[Site], questions: Sequence[str] | None = None
    ) -> Tensor:
        """The thoughts [N, d] that texts predict, each at its own site."""
        return self.apply(self.reader.features(texts, questions), sites)

    def apply(self, features: Tensor, sites: Sequence[Site]) -> Tensor:
        """Map read states [N, F] to thoughts [N, d], each by its site's map."""
        out = torch.empty(len(sites), len(self.map_of(sites[0]).mean)) if len(sites) else features[:, :0]
        for site, rows in _rows_by_site(sites).items():
            fitted = self.map_of(site)
            if features.shape[1] != len(fitted.weight):
                raise MetricError(
                    f"the map of {site} takes {len(fitted.weight)} features, the reading gives "
                    f"{features.shape[1]}: the map was fitted with another ReadSpec; fit it anew"
                )
            out[rows] = fitted.predict(features[rows])
        return out

    def distance(self, thoughts: Tensor, predicted: Tensor, sites: Sequence[Site]) -> Tensor:
        """Squared whitened distance per dimension [N] between thoughts and predictions [N, d]."""
        out = torch.empty(len(sites))
        for site, rows in _rows_by_site(sites).items():
            out[rows] = self.map_of(site).distance(thoughts[rows], predicted[rows])
        return out

    def distance_to_mean(self, thoughts: Tensor, sites: Sequence[Site]) -> Tensor:
        """Squared whitened distance per dimension [N] between thoughts [N, d] and their site's mean."""
        means = torch.stack([self.map_of(site).mean for site in sites]) if sites else thoughts
        return self.distance(thoughts, means, sites)

    def match(self, thoughts: Tensor, predicted: Tensor, sites: Sequence[Site]) -> Tensor:
        """1 - d(thought, text) / d(thought, training mean) [N]: 1 is perfect, 0 is the mean."""
        return 1 - self.distance(thoughts, predicted, sites) / self.distance_to_mean(thoughts, sites)

    def check(self, source: str) -> None:
        """Refuse maps with values that are not finite; `source` says where they are from.

        Raises:
            MetricError: names the site and the part.
        """
        for site, fitted in self.maps.items():
            if (part := non_finite(vars(fitted).items())) is not None:
                raise MetricError(
                    f"{source}: {part} of the map of {site} holds values that are not finite; fit it anew on "
                    "more traces (trace.n) or with a larger reading.spec.ridge"
                )

    def save(self, folder: str | Path) -> None:
        """Write `maps.safetensors`: ReadSpec, basis, and the maps in half precision where it holds them.

        Raises:
            MetricError: a value is not finite.
        """
        self.check("fitting")
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{site}/{name}": (_halved(value) if name in HALVED else value).contiguous()
            for site, fitted in self.maps.items()
            for name, value in vars(fitted).items()
        }
        if (basis := self.reader.basis) is not None:
            tensors |= {f"{BASIS}/{name}": value for name, value in vars(basis).items()}
            tensors[f"{BASIS}/directions"] = basis.directions.half()
        spec = strict_json(self.reader.spec.model_dump(mode="json"))
        reasoner = self.reader.reasoner.content_hash
        with whole_file(path / MAPS_FILE) as temporary:
            save_file(tensors, temporary, metadata={"read_spec": spec, "reasoner_hash": reasoner})
        write_manifest(path, (MAPS_FILE,))

    @staticmethod
    def load(folder: str | Path, reasoner: Reasoner) -> ThoughtMetric:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            MetricError: the maps were fitted on another reasoner, or a value is not finite.
            DamagedError: the file is cut, or not what was written.
        """
        path = Path(folder) / MAPS_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; fit the maps first (reverse-codi train does)")
        check_files(folder, (MAPS_FILE,), REFIT)
        with (
            blamed_on(path, DamagedError, REFIT, what="is cut or damaged"),
            safe_open(path, framework="pt") as file,
        ):
            stored = file.metadata() or {}
            if stored.get("reasoner_hash") != reasoner.content_hash:
                raise MetricError(
                    f"{path} was fitted on the reasoner with hash {stored.get('reasoner_hash')}, the one at "
                    f"hand has {reasoner.content_hash}; load that reasoner, or delete the file and fit anew"
                )
            spec = ReadSpec(**json.loads(stored["read_spec"]))
            fields: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                site, _, name = key.partition("/")
                fields.setdefault(site, {})[name] = file.get_tensor(key).float()
            basis = FeatureBasis(**fields.pop(BASIS)) if BASIS in fields else None
            maps = {Site.parse(site): AffineMap(**parts) for site, parts in fields.items()}
            _check_shapes(maps, reasoner.width, str(path))
        metric = ThoughtMetric(Reader(reasoner, spec, basis), maps)
        metric.check(str(path))
        return metric


def _check_shapes(maps: Mapping[Site, AffineMap], width: int, source: str) -> None:
    if not maps:
        raise MetricError(f"{source} holds no map; fit the maps anew")
    for site, fitted in maps.items():
        shapes = {name: tuple(part.shape) for name, part in vars(fitted).items()}
        wanted = {
            "weight": (*shapes["weight"][:1], width),
            "bias": (width,),
            "mean": (width,),
            "whitener": (width, width),
            "reference": (*shapes["reference"][:1], width),
        }
        for name, shape in shapes.items():
            if shape != wanted[name]:
                raise MetricError(
                    f"{source}: {name} of the map of {site} has shape {shape}, not {wanted[name]}; fit anew"
                )


def _halved(value: Tensor) -> Tensor:
    """In half precision, unless that loses more than a thousandth of the norm.

    A map fitted on fewer rows than features leaves almost no residual, so its whitener can overflow.
    """
    half = value.half()
    return half if (half.float() - value).norm() <= 1e-3 * value.norm() else value


def _rows_by_site(sites: Sequence[Site]) -> dict[Site, list[int]]:
    rows: dict[Site, list[int]] = {}
    for row, site in enumerate(sites):
        rows.setdefault(site, []).append(row)
    return rows
