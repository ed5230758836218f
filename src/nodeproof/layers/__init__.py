"""The layers, in the order in which they are applied."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodeproof.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nodeproof.catalog.hardening.model import Exempt
    from nodeproof.settings.model import LayerSettings


@dataclass(frozen=True)
class Layer:
    """One folder below this one; its modules are imported when they are needed."""

    name: str

    @property
    def settings_model(self) -> type[LayerSettings]:
        """The model of what a user may ask of this layer."""
        model: type[LayerSettings] = import_module(f"{__name__}.{self.name}.settings").Settings
        return model

    @property
    def checks(self) -> tuple[str, ...]:
        """The modules that prove it: ``checks``, and ``*_checks`` where one would be too long."""
        folder = Path(__file__).parent / self.name
        more = sorted(path.stem for path in folder.glob("*_checks.py"))
        return tuple(f"{__name__}.{self.name}.{module}" for module in ("checks", *more))

    @property
    def deploy(self) -> Callable[..., Any]:
        """The deploy that makes it so: called as ``deploy(settings, node)``."""
        function: Callable[..., Any] = import_module(f"{__name__}.{self.name}.deploy").deploy_layer
        return function

    def exceptions(self, settings: LayerSettings) -> tuple[Exempt, ...]:
        """What its settings do not ask for on purpose, though a control would."""
        module = import_module(f"{__name__}.{self.name}.settings")
        found: Callable[[LayerSettings], tuple[Exempt, ...]] = getattr(
            module, "exceptions", lambda _: ()
        )
        return found(settings)


LAYERS = (
    Layer("system"),
    Layer("kernel"),
    Layer("network"),
    Layer("gpu"),
    Layer("cuda"),
    Layer("rocm"),
    Layer("intel"),
    Layer("containers"),
    Layer("confinement"),
    Layer("ssh"),
    Layer("hardening"),
    Layer("audit"),
    Layer("updates"),
)

LAYER_NAMES = tuple(layer.name for layer in LAYERS)


def layer_named(name: str) -> Layer:
    """Return the layer of that name; raises KeyError."""
    return next(layer for layer in LAYERS if layer.name == name)


def choose_layers(only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen layers in order of application; raises UsageError."""
    from nodeproof.settings.problems import nearest

    for name in (*only, *skip):
        if name not in LAYER_NAMES:
            near = nearest(name, LAYER_NAMES)
            raise UsageError(
                f"--layer {name}: no such layer",
                hint=f"did you mean {near}?" if near else f"layers are {', '.join(LAYER_NAMES)}",
            )
    chosen = tuple(name for name in LAYER_NAMES if (not only or name in only) and name not in skip)
    if not chosen:
        raise UsageError("--layer and --skip-layer: leave no layer")
    return chosen
