"""What may be asked of the gpu layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import override

from nodeproof.catalog.resolve.asked import DriverAsked
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.types import AbsolutePath, IpAddress, ServiceName, UserName, grammar

UNIT = "nodeproof-gpu.service"
"""Sets at boot what a GPU forgets."""
DIVIDER = "/usr/local/sbin/nodeproof-mig"
"""Divides GPUs; the unit calls it."""
CLOCKS_UNIT = "nodeproof-jetson-clocks.service"
"""Holds a Jetson's clocks up from boot on."""
PROFILING = "NVreg_RestrictProfilingToAdminUsers"
CHANNEL_0 = "NVreg_CreateImexChannel0"
SLICES = 7
"""Of a GPU that computes; source: NVIDIA's MIG user guide, concepts."""


def _undivided(value: object) -> object:
    return {} if value is False else value


def _free(value: object) -> object:
    return [] if value is False else value


MigProfile = Annotated[
    str,
    grammar(
        r"^[1-7]g\.[1-9][0-9]{0,2}gb(\+me)?$",
        "a profile as nvidia-smi mig -lgip has it: 1g.10gb, 1g.10gb+me",
        16,
    ),
]
ModuleOption = Annotated[
    str, grammar(r"^NVreg_[A-Za-z0-9]+$", "an option of the nvidia module: NVreg_...", 64)
]
ModuleValue = Annotated[
    str, grammar(r"^[A-Za-z0-9]+$", "a value of letters and digits: 0, 1, 0x10", 64)
]

JetPackRelease = Annotated[str, grammar(r"^[0-9]+(\.[0-9]+){1,2}$", "a JetPack release: 6.2.1", 16)]
PowerMode = Annotated[
    str, grammar(r"^[A-Z0-9][A-Z0-9_]*$", "a power mode of a Jetson: MAXN_SUPER, 25W", 32)
]
LibtpuVersion = Annotated[
    str, grammar(r"^[0-9]+(\.[0-9]+){1,3}$", "a version of libtpu: 0.0.51", 24)
]
Clocks = Annotated[
    list[Annotated[int, Field(ge=100, le=20000)]] | None,
    BeforeValidator(_free),
    Field(max_length=2),
]


class Imex(LayerSettings):
    """The NVLink domain that a node of a rack belongs to."""

    nodes: list[IpAddress] = setting(
        ..., "addresses of all its nodes, in one order, this node's among them", min_length=1
    )
    shared_channel: bool = setting(
        False, "the driver makes channel 0, for all users; else jobs get channels of their own"
    )


class Confidential(LayerSettings):
    """A guest that got its GPUs from the host in confidential mode."""

    attested_by: ServiceName | None = setting(
        None, "the unit after whose success GPUs take work; none: whoever attests them says so"
    )


class Jetson(LayerSettings):
    """What a Jetson has to be like; its driver comes with its image."""

    jetpack: JetPackRelease | None = setting(
        None, "its JetPack, as the catalog has them; none: that of its Jetson Linux"
    )
    packages: Literal["none", "runtime", "all"] = setting(
        "none", "how much of JetPack is installed: nothing, what runs, or what builds, too"
    )
    power_mode: PowerMode | None = setting(None, "the name of its mode, as nvpmodel -q says it")
    highest_clocks: bool = setting(False, "whether jetson_clocks has to hold clocks up")


class Tpu(LayerSettings):
    """What a TPU VM has to be like; it is looked at, and not changed."""

    users: list[UserName] = setting([], "who must be able to open its TPUs")
    libtpu: dict[AbsolutePath, LibtpuVersion] = setting(
        {}, "Python environments, with the version of libtpu that each must have"
    )


class Settings(DriverAsked):
    """Settings of the gpu layer."""

    persistence: bool = setting(
        True, "the persistence daemon, which keeps GPUs initialised while nobody uses them"
    )
    restrict_profiling: bool = setting(
        True, "only administrators may read performance counters; they tell of others' work"
    )
    module_options: dict[ModuleOption, ModuleValue] = setting(
        {}, "other options of the nvidia module, e.g. NVreg_EnableGpuFirmware"
    )
    compute_mode: Literal["default", "exclusive-process", "prohibited"] | None = setting(
        None, "how many processes may share a GPU; none leaves it alone"
    )
    power_limit_w: int | None = setting(
        None, "each GPU's power limit; none leaves it alone", unit="W", ge=50, le=3000
    )
    ecc: bool | None = setting(
        None, "whether memory is protected by ECC, from a reboot on; none leaves it alone"
    )
    graphics_clocks_mhz: Clocks = setting(
        None,
        "the clock that is locked, or its lowest and highest; [] not at all, none leaves it",
        unit="MHz",
    )
    memory_clocks_mhz: Clocks = setting(None, "the same for the memory's clock", unit="MHz")
    mig: Annotated[
        dict[MigProfile, Annotated[int, Field(ge=1, le=SLICES)]] | None,
        BeforeValidator(_undivided),
    ] = setting(
        None, "how each GPU is divided: how many of which profile; {} not at all, none leaves it"
    )

    imex: Imex | None = setting(
        None, "the nodes of a rack that share GPU memory (GB200, GB300); none leaves IMEX alone"
    )

    confidential: Confidential | None = setting(
        None, "a guest whose GPUs the host set to confidential mode"
    )

    jetson: Jetson | None = setting(None, "what a Jetson has to be like; driver must be none")

    tpu: Tpu | None = setting(None, "what a TPU VM has to be like; verified only")

    @override
    def asks(self) -> dict[str, Any]:
        """Return what all of it asks of the driver."""
        return {**super().asks(), "mig": bool(self.mig)}

    @property
    def instances(self) -> tuple[str, ...]:
        """The profiles of a GPU's MIG instances, each as often as it is asked for, largest first.

        A small one in the wrong place would leave a large one no room.
        """
        asked = (self.mig or {}).items()
        each = [name for name, count in asked for _ in range(count)]
        return tuple(sorted(each, key=lambda name: (-int(name[0]), name)))

    @property
    def options(self) -> dict[str, str]:
        """All options of the nvidia module, with their values."""
        ours = {PROFILING: str(int(self.restrict_profiling))}
        if self.imex is not None:
            ours[CHANNEL_0] = str(int(self.imex.shared_channel))
        return ours | self.module_options

    @property
    def modules_at_boot(self) -> tuple[str, ...]:
        """Kernel modules beside the driver's own that are loaded at boot."""
        asked = {
            "nvidia-peermem": self.peer_access == "peermem",
            "gdrdrv": self.gdrcopy,
            "nvidia-fs": self.gds,
        }
        return tuple(name for name, wanted in asked.items() if wanted)

    @property
    def locked(self) -> dict[str, tuple[int, int]]:
        """The clocks that are locked, with their lowest and highest."""
        asked = {"graphics": self.graphics_clocks_mhz, "memory": self.memory_clocks_mhz}
        return {kind: (clocks[0], clocks[-1]) for kind, clocks in asked.items() if clocks}

    @property
    def sets_gpus(self) -> bool:
        """Whether anything is asked that a GPU forgets."""
        asked = (
            *(self.mig, self.compute_mode, self.power_limit_w, self.ecc),
            *(self.graphics_clocks_mhz, self.memory_clocks_mhz),
        )
        return any(one is not None for one in asked)

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if PROFILING in self.module_options:
            raise ValueError(f"{PROFILING} is what restrict_profiling sets")
        if CHANNEL_0 in self.module_options and self.imex is not None:
            raise ValueError(f"{CHANNEL_0} is what imex.shared_channel sets")
        if self.confidential is not None and not self.persistence:
            raise ValueError("confidential: GPUs that nobody keeps initialised need a reset")
        if (slices := sum(int(name[0]) for name in self.instances)) > SLICES:
            raise ValueError(f"mig: {slices} slices are asked for, and a GPU has {SLICES}")
        for kind, (low, high) in self.locked.items():
            if low > high:
                raise ValueError(f"{kind}_clocks_mhz: {low} is above {high}; the lowest goes first")
        return self
