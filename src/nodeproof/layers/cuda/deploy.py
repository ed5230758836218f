"""Make a node have CUDA toolkits that its driver runs, and one of them by default."""

from __future__ import annotations

from datetime import date

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.errors import UsageError
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.cuda import names, operations
from nodeproof.layers.cuda.settings import Settings
from nodeproof.layers.cuda.stack import Toolkits, toolkits
from nodeproof.operations import files, packages, repositories, stacks
from nodeproof.repositories import nvidia
from nodeproof.repositories.spec import AptRepository, DnfRepository


@deploy("cuda")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Ask the catalog, and refuse before the first change; then install and configure."""
    has: Accelerators = host.get_fact(Gpus)
    choice = _chosen(settings, node, has)
    _no_other_installer()
    try:
        made = toolkits(settings, choice, current())
    except UsageError as error:
        raise DeployError(f"{host.name}: cuda: {error.message}; {error.hint}") from error
    _no_driver(has)
    manager = distribution.package_manager
    if holding := distribution.packages.get("hold", ()):
        packages.present(name="Install what holds packages", manager=manager, packages=holding)
    added = repositories.added(
        name="Add the toolkits' repository", repository=_repository(settings, choice)
    )
    newer = stacks.lists(
        name="Fetch newer package lists for the toolkits",
        manager=manager,
        stack=made.stack,
        after=[added],
    )
    # A build for another CUDA may count as older, and what is older is installed when asked for.
    stacks.installed(
        name="Install the toolkits",
        manager=manager,
        stack=made.stack,
        replace=True,
        brings=names.ALTERNATIVES,
        after=[added, newer],
    )
    operations.alternative(
        name="Choose the default toolkit",
        group=names.GROUP,
        path=names.folder(made.default),
        places=names.ALTERNATIVES,
    )
    _modulefiles(settings, made)
    _profile(settings, made)


def _chosen(settings: Settings, node: NodeFacts, has: Accelerators) -> Choice:
    """Return what is installed; raises DeployError for what cannot work."""
    answer = resolve(settings.asked, of_node(node, has), current(), date.today())
    if isinstance(answer, Refusal):
        raise DeployError(f"{host.name}: cuda: {in_one_line(answer)}")
    return answer


def _no_other_installer() -> None:
    """Refuse what alternatives would leave as it is."""
    there: FileStateData | None = host.get_fact(FileState, path=names.DEFAULT)
    if there is not None and there.kind == "directory":
        raise DeployError(
            f"{host.name}: cuda: {names.DEFAULT} is a directory that another installer made; move "
            f"it to {names.DEFAULT}-RELEASE: it is a link to the default toolkit here"
        )


def _no_driver(has: Accelerators) -> None:
    if has.platform != "wsl2":
        return
    files.template(
        name="Keep drivers for Linux away",
        path=names.NO_DRIVER,
        source="cuda/no-driver.pref.j2",
        values={"never": current().platforms["wsl2"].never},
    )


def _repository(settings: Settings, choice: Choice) -> AptRepository | DnfRepository:
    if choice.cuda_place is None:
        raise DeployError(f"{host.name}: cuda: NVIDIA has no repository for this distribution")
    found = nvidia.repository(settings.asked, choice.cuda_place, current())
    if found is None:
        raise DeployError(
            f"{host.name}: cuda: no fingerprint, or no address, of the repository's key is known; "
            "set repository_key and repository_key_uri"
        )
    return found


def _modulefiles(settings: Settings, made: Toolkits) -> None:
    if settings.modulefiles is None:
        return
    folder = f"{settings.modulefiles}/cuda"
    files.directory(name="Make the folder of modulefiles", path=folder, keep=True)
    for series in made.versions:
        files.template(
            name=f"Write the modulefile of CUDA {series}",
            path=f"{folder}/{series}",
            source="cuda/modulefile.j2",
            values={"series": series, "forward": series in made.forward},
        )
    files.template(
        name="Write which modulefile is the default",
        path=f"{folder}/.version",
        source="cuda/modulefile-default.j2",
        values={"series": made.default},
    )


def _profile(settings: Settings, made: Toolkits) -> None:
    if not settings.profile:
        files.absent(name="Leave login shells alone", path=names.PROFILE)
        return
    files.template(
        name="Give login shells the default toolkit",
        path=names.PROFILE,
        source="cuda/profile.sh.j2",
        values={"series": made.default, "forward": made.default in made.forward},
    )
