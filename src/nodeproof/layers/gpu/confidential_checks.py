"""GPUs of a confidential guest, as their driver has them."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from nodeproof.health.units import why_down
from nodeproof.layers.gpu.confidential import (
    CRYPTO,
    KEEPS,
    Confidential,
    ConfidentialData,
)
from nodeproof.layers.gpu.facts import READY
from nodeproof.layers.gpu.settings import Confidential as Asked
from nodeproof.layers.gpu.settings import Settings


@pytest.fixture(scope="module")
def asked(settings: Settings) -> Asked:
    """Return what is asked of confidential computing."""
    if settings.driver == "none" or settings.confidential is None:
        pytest.skip("no confidential GPUs are asked for")
    return settings.confidential


@pytest.fixture(scope="module")
def confidential(host: Host, settings: Settings, asked: Asked) -> ConfidentialData:
    """Return what the driver says."""
    if settings.image is not None:
        pytest.skip("the node becomes an image for other machines; it has none of their GPUs")
    done = host.run("sh -c %s", Confidential().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Confidential().process(done.stdout.splitlines())


@pytest.mark.control("NP-GPU-10")
def test_gpus_are_confidential(confidential: ConfidentialData) -> None:
    """A GPU in another mode gives the host its memory to read; one with DevTools does, too."""
    assert not confidential.why_open, confidential.why_open


@pytest.mark.control("NP-GPU-10")
def test_session_with_the_gpu_is_kept(confidential: ConfidentialData) -> None:
    """When nobody holds it, the keys are gone, and only a reset of the GPU begins another."""
    assert confidential.daemon, "the persistence daemon does not run"
    assert confidential.kept, f"it runs without {KEEPS}: {confidential.daemon}"


@pytest.mark.control("NP-GPU-10")
def test_crypto_comes_before_the_driver(host: Host, asked: Asked) -> None:
    """The driver agrees on keys with the GPU when it is loaded, and needs these modules then."""
    told = [line.split() for line in host.check_output("modprobe --showconfig").splitlines()]
    assert CRYPTO.split() in told, f"modprobe is not told: {CRYPTO}"


@pytest.mark.control("NP-GPU-10")
def test_attested_gpus_take_work(confidential: ConfidentialData, asked: Asked) -> None:
    """A confidential GPU takes no work before somebody has attested it, and said so."""
    if asked.attested_by is None:
        pytest.skip("whoever attests the GPUs sets them ready: no confidential.attested_by")
    assert confidential.ready, "CC GPUs Ready State is not Ready"


@pytest.mark.control("NP-GPU-10")
def test_gpus_wait_for_attestation_at_boot(host: Host, settings: Settings, asked: Asked) -> None:
    """Whether GPUs were attested is forgotten with the power."""
    if asked.attested_by is None:
        pytest.skip("whoever attests the GPUs sets them ready: no confidential.attested_by")
    needs = host.check_output("systemctl show -P Requires -- %s", READY).split()
    assert asked.attested_by in needs, f"{READY} does not wait for {asked.attested_by}"
    wrong = why_down(host, READY, now=settings.image is None)
    assert not wrong, wrong
